import { setImmediate } from "node:timers/promises";

import { expect, test } from "vitest";

import { Turns } from "./turns.ts";

test("what is asked for in one turn runs together, in order, and what that asks for in the next", async () => {
  const turns = new Turns();
  const ran: string[] = [];
  turns.add({
    run: () => {
      ran.push("first");
      turns.add({ run: () => ran.push("later") });
    },
  });
  turns.add({ run: () => ran.push("second") });
  expect(ran).toEqual([]);
  await setImmediate();
  expect(ran).toEqual(["first", "second"]);
  await setImmediate();
  expect(ran).toEqual(["first", "second", "later"]);
});
