import { create } from "@bufbuild/protobuf";
import { DurationSchema, durationMs } from "@bufbuild/protobuf/wkt";
import fc from "fast-check";
import { expect, test } from "vitest";

import { formatDuration, parseDuration } from "./duration.ts";

test.each([
  ["0", 0],
  ["0s", 0],
  ["1s", 1_000],
  ["500ms", 500],
  ["1m30s", 90_000],
  ["1.5s", 1_500],
  ["1h", 3_600_000],
  ["2h0m10s", 7_210_000],
  ["-1s", -1_000],
])("%s is %d ms", (text, ms) => {
  const duration = parseDuration(text);
  expect(duration && durationMs(duration)).toBe(ms);
});

test.each(["", "1", "s", "1 s", "1x", "1s ", ".5s", "1e3s", "1s1", "0.1ns", "--1s", "999999999999h"])(
  "%j is no duration",
  (text) => expect(parseDuration(text)).toBeUndefined(),
);

test.each([
  [0n, 0, "0s"],
  [90n, 0, "1m30s"],
  [3600n, 0, "1h"],
  [0n, 500_000_000, "500ms"],
  [1n, 500_000_000, "1.5s"],
  [0n, 1_500, "1.5us"],
  [-1n, -500_000_000, "-1.5s"],
])("%d s and %d ns are written %s", (seconds, nanos, text) => expect(formatDuration({ seconds, nanos })).toBe(text));

test("what is written is read back as the same duration", () => {
  const durations = fc
    .tuple(fc.bigInt(0n, 315_575_999_999n), fc.integer({ min: 0, max: 999_999_999 }), fc.boolean())
    .map(([seconds, nanos, negative]) =>
      create(DurationSchema, { seconds: negative ? -seconds : seconds, nanos: negative ? -nanos : nanos }),
    );
  fc.assert(
    fc.property(durations, (duration) => {
      const back = parseDuration(formatDuration(duration));
      expect([back?.seconds, (back?.nanos ?? 0) + 0]).toEqual([duration.seconds, duration.nanos + 0]);
    }),
  );
});
