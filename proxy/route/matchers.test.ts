/** Header matchers, by the rules of Envoy's HeaderUtility (proxy-parity 3.2). */
import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";

import { HeaderMatcherSchema } from "#envoy/config/route/v3/route_components_pb.ts";
import type { StringMatcherSchema } from "#envoy/type/matcher/v3/string_pb.ts";

import type { Init } from "../../test/support/message-init.ts";
import { requestHead } from "../../test/support/request-head.ts";
import { Place } from "../compile.ts";
import { compileHeaderMatcher } from "./matchers.ts";

type Matcher = Init<typeof HeaderMatcherSchema>;

const string = (value: Init<typeof StringMatcherSchema>, more: Matcher = {}): Matcher => ({
  name: "x",
  headerMatchSpecifier: { case: "stringMatch", value },
  ...more,
});
const exact = (value: string, more: Matcher = {}) => string({ matchPattern: { case: "exact", value } }, more);
const present = (value: boolean, more: Matcher = {}): Matcher => ({
  name: "x",
  headerMatchSpecifier: { case: "presentMatch", value },
  ...more,
});
const range = (start: bigint, end: bigint): Matcher => ({
  name: "x",
  headerMatchSpecifier: { case: "rangeMatch", value: { start, end } },
});

test.each<[string, Matcher, Record<string, string | string[]>, boolean]>([
  ["exact", exact("a"), { x: "a" }, true],
  ["exact, other value", exact("a"), { x: "A" }, false],
  ["ignore_case", string({ matchPattern: { case: "exact", value: "aB" }, ignoreCase: true }), { x: "Ab" }, true],
  ["prefix", string({ matchPattern: { case: "prefix", value: "a" } }), { x: "ab" }, true],
  ["suffix", string({ matchPattern: { case: "suffix", value: "b" } }), { x: "ab" }, true],
  ["contains", string({ matchPattern: { case: "contains", value: "b" } }), { x: "abc" }, true],
  [
    "regex is a full match",
    string({ matchPattern: { case: "safeRegex", value: { regex: "[3-9]" } } }),
    { x: "33" },
    false,
  ],
  // Envoy 1.40 no longer joins them.
  ["several fields are not joined", exact("a,b"), { x: ["a", "b"] }, false],
  ["one of several fields is enough", exact("b"), { x: ["a", "b"] }, true],
  ["and one too many where none may fit", exact("b", { invertMatch: true }), { x: ["a", "b"] }, false],
  ["the name has no case", exact("a", { name: "X" }), { x: "a" }, true],
  ["no specifier: present", { name: "x" }, { x: "" }, true],
  ["no specifier: absent", { name: "x" }, {}, false],
  ["inverted", exact("a", { invertMatch: true }), { x: "b" }, true],
  ["a missing header fails an inverted matcher too", exact("a", { invertMatch: true }), {}, false],
  ["unless it counts as empty", exact("a", { invertMatch: true, treatMissingHeaderAsEmpty: true }), {}, true],
  ["counts as empty", exact("", { treatMissingHeaderAsEmpty: true }), {}, true],
  ["present_match: false", present(false), {}, true],
  ["present_match inverted", present(true, { invertMatch: true }), {}, true],
  ["present_match inverted, present", present(true, { invertMatch: true }), { x: "" }, false],
  ["range", range(-5n, 10n), { x: "-5" }, true],
  ["range end is not in it", range(-5n, 10n), { x: "10" }, false],
  ["range of no number", range(-5n, 10n), { x: "5a" }, false],
  ["range of a number beyond int64", range(-5n, 10n), { x: "99999999999999999999" }, false],
  [":method", exact("GET", { name: ":method" }), {}, true],
  [":authority", exact("example.com", { name: ":authority" }), {}, true],
  ["host is :authority", exact("example.com", { name: "Host" }), {}, true],
  [":path with query", exact("/?a", { name: ":path" }), {}, true],
  [":scheme", exact("http", { name: ":scheme" }), {}, true],
  ["text beyond ASCII is its UTF-8 bytes", exact("\u00e9"), { x: "\u00c3\u00a9" }, true],
  [
    "a regex sees characters, not bytes",
    string({ matchPattern: { case: "safeRegex", value: { regex: "." } } }),
    { x: "\u00c3\u00a9" },
    true,
  ],
])("%s", (_, matcher, headers, expected) => {
  const place = Place.root();
  const matches = compileHeaderMatcher(create(HeaderMatcherSchema, matcher), place);
  expect(place.problems).toEqual([]);
  expect(matches?.(requestHead({ headers, path: "/?a" }))).toBe(expected);
});
