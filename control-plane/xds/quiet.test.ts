import { expect, test } from "vitest";

import { defaultLimits } from "./limits.ts";
import { Quiet } from "./quiet.ts";

const limits = { ...defaultLimits, reconnectMs: 50, resumeMs: 500 };
const resumed = (aggregated = true) => {
  const quiet = new Quiet(limits);
  quiet.resume(1_000, aggregated);
  return quiet;
};

test("a new client may be answered at once, or when its turn has come", () => {
  const quiet = new Quiet(limits);
  expect(quiet.until(1_000, false)).toBeUndefined();
  quiet.startAt(2_000);
  expect(quiet.until(1_000, true)).toBe(2_000);
  expect(quiet.until(2_000, true)).toBeUndefined();
});

test("W6 one that comes back is heard out, until it has asked for routes or doesn't", () => {
  expect(resumed().until(1_010, true)).toBe(1_050);
  expect(resumed().until(1_050, true)).toBeUndefined();
  const quiet = resumed();
  expect(quiet.until(1_050, false)).toBe(1_500);
  expect(quiet.until(1_400, true)).toBeUndefined();
});

test("W6 after a stall of this process its requests get time to be read", () => {
  const quiet = resumed();
  expect(quiet.until(9_000, false)).toBe(9_050);
  expect(quiet.until(9_050, false)).toBeUndefined();
});

test("on a service of its own no routes are waited for", () => {
  expect(resumed(false).until(1_050, false)).toBeUndefined();
});
