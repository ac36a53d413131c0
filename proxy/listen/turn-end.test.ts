import { expect, test } from "vitest";

import { collectUncaught } from "../../test/support/uncaught.ts";
import { atTurnEnd } from "./turn-end.ts";

/** Notes in `log` that it was written, and does something besides. */
const noting = (log: string[], name: string, besides = () => {}) => ({
  writeGathered: () => {
    log.push(name);
    besides();
  },
});

const nextTurn = () => new Promise((resolve) => setImmediate(resolve));

test("what gathers in a turn is written at its end, in order", async () => {
  const log: string[] = [];
  atTurnEnd(noting(log, "first"));
  await Promise.resolve();
  atTurnEnd(noting(log, "second"));
  log.push("handled");
  await nextTurn();
  expect(log).toEqual(["handled", "first", "second"]);
});

test("what gathers while others are written is written at the next end", async () => {
  const log: string[] = [];
  atTurnEnd(noting(log, "first", () => atTurnEnd(noting(log, "again"))));
  atTurnEnd(noting(log, "second"));
  await nextTurn();
  expect(log).toEqual(["first", "second"]);
  await nextTurn();
  expect(log).toEqual(["first", "second", "again"]);
});

test("what is thrown while one is written keeps nothing of the others back", async () => {
  const log = collectUncaught();
  const thrown = () => {
    throw new Error("a bug");
  };
  atTurnEnd(noting(log, "first", thrown));
  atTurnEnd(noting(log, "second"));
  await nextTurn();
  await nextTurn();
  expect(log).toEqual(["first", "a bug", "second"]);
});
