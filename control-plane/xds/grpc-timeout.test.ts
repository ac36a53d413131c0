import { expect, test } from "vitest";

import { timeoutMsOf } from "./grpc-timeout.ts";

test.each([
  [undefined, undefined],
  ["0n", 0],
  ["5m", 5],
  ["2500u", 2.5],
  ["1S", 1_000],
  ["2M", 120_000],
  ["1H", 3_600_000],
  // More than a timer takes.
  ["99999999H", undefined],
  ["", "invalid"],
  ["5", "invalid"],
  ["5s", "invalid"],
  ["-5S", "invalid"],
  ["123456789m", "invalid"],
  [["1S", "2S"], "invalid"],
])("grpc-timeout: %s", (header, timeoutMs) => {
  expect(timeoutMsOf(header)).toBe(timeoutMs);
});
