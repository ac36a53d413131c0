import { expect, test } from "vitest";

import { judge } from "./compare.ts";

const pairs = (...ratios: number[]) => ratios.map((ratio) => ({ base: 50, now: 50 * ratio }));

test.each<[string, number[], string]>([
  ["the same", [1, 1.01, 0.99, 1.02, 0.98], "same"],
  ["a little more than the pairs scatter", [1.05, 1.06, 1.04, 1.05, 1.05], "SLOWER"],
  ["as much, but the pairs scatter", [1.05, 1.3, 0.8, 0.95, 1.2], "same"],
  ["one disturbed pair", [1, 1.01, 2.5, 0.99, 1], "same"],
  ["less", [0.8, 0.81, 0.79, 0.8, 0.8], "faster"],
])("%s", (_what, ratios, verdict) => {
  const { cells, slower } = judge(pairs(...ratios));
  expect(cells.at(-1)).toBe(verdict);
  expect(slower).toBe(verdict === "SLOWER");
});
