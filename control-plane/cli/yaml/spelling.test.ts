import { expect, test } from "vitest";
import { shortName } from "#proto/plain.ts";
import { RetryOnSchema } from "#sluice/model/v1/upstream_pb.ts";
import { alternatives, closest, writableValues } from "./spelling.ts";

test("enum values lose their enum's name, even where a digit is left in front", () => {
  expect(writableValues(RetryOnSchema).map(shortName)).toEqual([
    "connect_failure",
    "refused_stream",
    "reset_before_request",
    "reset",
    "gateway_error",
    "5xx",
    "retriable_4xx",
  ]);
});

test.each([
  ["path_prefix", "pathPrefix"],
  ["hots", "hosts"],
  ["upstream", "upstreams"],
  ["qqqqq", undefined],
  ["x".repeat(10_000), undefined],
])("%s probably means %s", (word, meant) => {
  expect(closest(word, ["hosts", "pathPrefix", "upstreams", "routes"])).toBe(meant);
});

test("words are joined as in a sentence", () => {
  expect([alternatives(["a"]), alternatives(["a", "b", "c"])]).toEqual(["a", "a, b or c"]);
});
