import { expect, test } from "vitest";

import { Pace } from "./pace.ts";

const rate = { bytesPerSecond: 100, graceMs: 1_000 };

test("a peer that does nothing has its grace, and one that keeps the rate has it for ever", () => {
  const silent = new Pace(rate);
  silent.wait(0, 0);
  expect([silent.left(400, 0), silent.left(1_000, 0)]).toEqual([600, 0]);
  const steady = new Pace(rate);
  steady.wait(0, 0);
  for (let second = 1; second <= 1_000; second++) expect(steady.left(second * 1_000, second * 100)).toBe(1_000);
});

test("one that is slower is found out when its grace is used up", () => {
  const slow = new Pace(rate);
  slow.wait(0, 0);
  // Half of the rate: a second costs half a second.
  expect(slow.left(1_000, 50)).toBe(500);
  expect(slow.left(2_000, 100)).toBe(0);
});

test("time in which nobody waits costs nothing", () => {
  const pace = new Pace(rate);
  pace.wait(0, 0);
  pace.rest(600, 0);
  expect(pace.left(100_000, 0)).toBe(Number.POSITIVE_INFINITY);
  pace.wait(100_000, 0);
  expect(pace.left(100_300, 0)).toBe(100);
});

test("a fast beginning is good for a rest, but for no more than 256 KiB's worth", () => {
  const pace = new Pace(rate);
  pace.wait(0, 0);
  expect(pace.left(0, 1_000)).toBe(11_000);
  expect(pace.left(0, 1e9)).toBe(1_000 + 262_144 * 10);
});
