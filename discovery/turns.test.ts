import { setImmediate } from "node:timers";

import { expect, test } from "vitest";

import { turn, turnToGoOn } from "./turns.ts";

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

test("whoever goes on with a piece of work comes before those who wait to begin one", async () => {
  const order: string[] = [];
  const piece = async (name: string) => {
    await turn();
    work();
    order.push(`${name} begins`);
    await turnToGoOn();
    order.push(`${name} ends`);
  };
  await Promise.all(Array.from({ length: 50 }, (_, at) => piece(String(at))));
  // Between the two there may be some microtasks, in which another one begins.
  let halfDone = 0;
  const counts = order.map((each) => (halfDone += each.endsWith("begins") ? 1 : -1));
  expect(Math.max(...counts)).toBeLessThanOrEqual(4);
});
