import { expect, test } from "vitest";

import { Decisions } from "./decisions.ts";

test("what a store that fails doesn't take is written when it is back, before what comes after", async () => {
  const done: string[] = [];
  const logged: string[] = [];
  const decisions = new Decisions({ error: (_: unknown, message?: string) => logged.push(message ?? "") });
  let failures = 2;
  const ended = Promise.withResolvers<void>();
  decisions.enqueue("g", () =>
    decisions.write("g", async () => {
      if (failures-- > 0) throw new Error("the database is away");
      done.push("end");
    }),
  );
  decisions.enqueue("g", async () => {
    done.push("next");
    ended.resolve();
  });
  await ended.promise;
  expect(done).toEqual(["end", "next"]);
  expect(logged).toHaveLength(1);
});

test("the end of the control plane waits for no store that fails", async () => {
  const decisions = new Decisions({ error: () => {} });
  const outcomes: unknown[] = [];
  const tried = Promise.withResolvers<void>();
  decisions.enqueue("g", async () => {
    outcomes.push(
      await decisions.write("g", async () => {
        tried.resolve();
        throw new Error("the database is away");
      }),
    );
  });
  await tried.promise;
  await decisions.close();
  expect(outcomes).toEqual([undefined]);
});
