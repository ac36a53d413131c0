import { expect, test } from "vitest";

import { compacts, growthPercent } from "./heap-growth.ts";

const MB = 1024 * 1024;

test.each([
  ["a small heap grows by 48 MB", 48 * MB, 100],
  ["so does one that is twice as large", 96 * MB, 50],
  ["a large one grows by 30 %", 200 * MB, 30],
  ["what lies between the steps is rounded down", 90 * MB, 50],
  ["so that a heap just below the large ones grows by little more than they do", 150 * MB, 30],
])("%s", (_, usedBytes, percent) => {
  expect(growthPercent(usedBytes)).toBe(percent);
});

test.each([
  ["not in a heap that has grown as it may", 110 * MB, 170 * MB, false],
  ["when nearly half of much is unused", 110 * MB, 205 * MB, true],
  ["not where little is unused, however large its share", 20 * MB, 80 * MB, false],
])("objects are moved together %s", (_, usedBytes, heldBytes, expected) => {
  expect(compacts(usedBytes, heldBytes)).toBe(expected);
});
