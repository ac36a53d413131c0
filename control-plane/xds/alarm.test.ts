import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { Alarm } from "./alarm.ts";

/** Between a timer and its ringing sockets are read: a turn of the event loop, which takes a millisecond by the clock of these tests. */
const TURN_MS = 1;

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
  expect(rings).toEqual([101 + TURN_MS]);
});

test("an earlier time takes the place of a later one; a later one changes nothing", () => {
  alarm.at(500);
  alarm.at(100);
  alarm.at(300);
  vi.advanceTimersByTime(1_000);
  expect(rings).toEqual([101 + TURN_MS]);
  alarm.at(1_500);
  vi.advanceTimersByTime(1_000);
  expect(rings).toEqual([101 + TURN_MS, 1_501 + TURN_MS]);
});

test("a time that is past rings at once, and one that was cleared not at all", () => {
  alarm.at(-5);
  vi.advanceTimersByTime(1 + TURN_MS);
  expect(rings).toEqual([1 + TURN_MS]);
  alarm.at(50);
  alarm.clear();
  vi.advanceTimersByTime(100);
  alarm.at(200);
  vi.advanceTimersByTime(200);
  expect(rings).toEqual([1 + TURN_MS, 201 + TURN_MS]);
});

test("one that is cleared, or asked for anew, while it is about to ring doesn't ring for the time before", () => {
  alarm.at(100);
  vi.advanceTimersByTime(101);
  alarm.clear();
  vi.advanceTimersByTime(100);
  expect(rings).toEqual([]);
  alarm.at(300);
  vi.advanceTimersByTime(100);
  // It is due, and has not rung: a later time changes nothing.
  alarm.at(900);
  vi.advanceTimersByTime(1_000);
  expect(rings).toEqual([301 + TURN_MS]);
});
