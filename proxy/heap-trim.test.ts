import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { HeapTrim, TRIM_DELAY_MS } from "./heap-trim.ts";

let collections: number;
let trim: HeapTrim;

beforeEach(() => {
  vi.useFakeTimers();
  collections = 0;
  trim = new HeapTrim(() => collections++);
});

afterEach(() => {
  trim.close();
  vi.useRealTimers();
});

test("after a large change, once, when nothing as large has followed for a while", () => {
  trim.changed(10_000);
  vi.advanceTimersByTime(TRIM_DELAY_MS - 1);
  trim.changed(30_000);
  vi.advanceTimersByTime(TRIM_DELAY_MS - 1);
  expect(collections).toBe(0);
  // A small one neither asks for a collection nor puts it off.
  trim.changed(1);
  vi.advanceTimersByTime(1);
  expect(collections).toBe(1);
  vi.advanceTimersByTime(10 * TRIM_DELAY_MS);
  expect(collections).toBe(1);
});

test("the first change counts as large, further small ones cause no collection, and neither does anything after the end", () => {
  trim.changed(1);
  vi.advanceTimersByTime(TRIM_DELAY_MS);
  expect(collections).toBe(1);
  for (let n = 0; n < 1_000; n++) trim.changed(10);
  trim.changed(10_000);
  trim.close();
  vi.advanceTimersByTime(10 * TRIM_DELAY_MS);
  expect(collections).toBe(1);
});
