import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { Alarm } from "./alarm.ts";

let rings: number[];
let alarm: Alarm;

beforeEach(() => {
  vi.useFakeTimers({ now: 0 });
  rings = [];
  alarm = new Alarm(Date.now, () => rings.push(Date.now()));
});

afterEach(() => {
  vi.useRealTimers();
});

test("it rings once, not before the time that was asked for", () => {
  alarm.at(100);
  vi.advanceTimersByTime(1_000);
  expect(rings).toEqual([101]);
});

test("an earlier time takes the place of a later one; a later one changes nothing", () => {
  alarm.at(500);
  alarm.at(100);
  alarm.at(300);
  vi.advanceTimersByTime(1_000);
  expect(rings).toEqual([101]);
  alarm.at(1_500);
  vi.advanceTimersByTime(1_000);
  expect(rings).toEqual([101, 1_501]);
});

test("a time that is past rings at once, and one that was cleared not at all", () => {
  alarm.at(-5);
  vi.advanceTimersByTime(1);
  expect(rings).toEqual([1]);
  alarm.at(50);
  alarm.clear();
  vi.advanceTimersByTime(100);
  alarm.at(200);
  vi.advanceTimersByTime(200);
  expect(rings).toEqual([1, 201]);
});
