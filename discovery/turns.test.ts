import { setImmediate } from "node:timers";

import { expect, test } from "vitest";

import { turn } from "./turns.ts";

const PIECES = 20;
const PIECE_MS = 3;

/** Keeps the event loop busy. */
function work(): void {
  const untilMs = performance.now() + PIECE_MS;
  while (performance.now() < untilMs);
}

test("pieces of work are done in the order they came, and others have their turn between them", async () => {
  const order: number[] = [];
  let rounds = 0;
  let isDone = false;
  const count = () => {
    rounds++;
    if (!isDone) setImmediate(count);
  };
  setImmediate(count);
  await Promise.all(
    Array.from({ length: PIECES }, async (_, at) => {
      await turn();
      work();
      order.push(at);
    }),
  );
  isDone = true;
  expect(order).toEqual(Array.from({ length: PIECES }, (_, at) => at));
  // A round has room for two pieces of 3 ms.
  expect(rounds).toBeGreaterThanOrEqual(PIECES / 2 - 1);
});

test("whoever comes while others wait, waits behind them", async () => {
  const order: string[] = [];
  const piece = async (name: string) => {
    await turn();
    work();
    order.push(name);
  };
  const first = ["a", "b", "c", "d"].map(piece);
  await first[0];
  const last = piece("e");
  await Promise.all([...first, last]);
  expect(order).toEqual(["a", "b", "c", "d", "e"]);
});
