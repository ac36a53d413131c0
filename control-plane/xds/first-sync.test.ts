import fc from "fast-check";
import { expect, test } from "vitest";

import { FirstSyncs } from "./first-sync.ts";

test("a burst begins at once, the rest at the rate, and the bucket fills up again", () => {
  const syncs = new FirstSyncs({ perSecond: 10, burst: 2 });
  expect([1, 2, 3, 4].map(() => syncs.reserve(1_000, 10_000))).toEqual([1_000, 1_000, 1_100, 1_200]);
  expect(syncs.reserve(1_300, 10_000)).toBe(1_300);
  // Long after, there is a burst again and no more than that.
  expect([1, 2, 3].map(() => syncs.reserve(60_000, 10_000))).toEqual([60_000, 60_000, 60_100]);
});

test("who would wait too long is told so, and takes nobody's place", () => {
  const syncs = new FirstSyncs({ perSecond: 1, burst: 1 });
  expect(syncs.reserve(0, 1_500)).toBe(0);
  expect(syncs.reserve(0, 1_500)).toBe(1_000);
  expect(syncs.reserve(0, 1_500)).toBeUndefined();
  expect(syncs.reserve(1_000, 1_500)).toBe(2_000);
});

test("whatever the arrivals, no window begins more than the burst and what the rate allows", () => {
  const arrivals = fc.array(fc.integer({ min: 0, max: 500 }), { minLength: 1, maxLength: 100 });
  fc.assert(
    fc.property(arrivals, fc.integer({ min: 1, max: 10 }), (gapsMs, burst) => {
      const syncs = new FirstSyncs({ perSecond: 20, burst });
      let nowMs = 0;
      const starts = gapsMs.map((gapMs) => {
        nowMs += gapMs;
        const startMs = syncs.reserve(nowMs, Number.POSITIVE_INFINITY) ?? -1;
        expect(startMs).toBeGreaterThanOrEqual(nowMs);
        return startMs;
      });
      for (const [first, fromMs] of starts.entries()) {
        const inWindow = starts.slice(first).filter((startMs) => startMs < fromMs + 1_000).length;
        expect(inWindow).toBeLessThanOrEqual(burst + 21);
      }
    }),
  );
});
