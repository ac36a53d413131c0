import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

import { expect, test } from "vitest";

import { waitFor } from "../../test/support/wait.ts";
import { StatsMemory } from "./stats-memory.ts";

/** A thorough collection, without which nobody could tell when what nobody holds is noticed. */
function collector(): () => void {
  setFlagsFromString("--expose-gc");
  return runInNewContext("gc") as () => void;
}

test("slots that nobody holds any more are used again, and zero; those that somebody holds are not", async () => {
  const collect = collector();
  const segments: SharedArrayBuffer[] = [];
  const memory = new StatsMemory((segment) => segments.push(segment));
  const held = memory.take(100);
  held?.memory.fill(7);
  // As many as a hundred segments hold.
  const churn = () => {
    for (let n = 0; n < 1_600; n++) memory.take(100)?.memory.fill(3);
  };
  await waitFor("places to be used again", () => {
    const before = segments.length;
    collect();
    churn();
    return segments.length === before && before > 0;
  });
  expect(memory.take(100)?.memory.every((value) => value === 0)).toBe(true);
  expect(held?.memory.every((value) => value === 7)).toBe(true);
});

test("where there is no room nothing is handed out", () => {
  const memory = new StatsMemory(() => {});
  const held = Array.from({ length: 256 }, () => memory.take(16 * 1024));
  expect(held.every((one) => one?.memory.length === 16 * 1024)).toBe(true);
  expect(memory.take(1)).toBeUndefined();
});
