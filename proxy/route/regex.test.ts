/** Plain code in place of a regular expression takes exactly what the expression takes. */
import { create } from "@bufbuild/protobuf";
import fc from "fast-check";
import { RE2JS } from "re2js";
import { expect, test } from "vitest";

import { RegexMatcherSchema } from "#envoy/type/matcher/v3/regex_pb.ts";

import { Place } from "../compile.ts";
import { compileFullMatch, literalAlternatives, literalPrefix, pathShape, SEGMENT } from "./regex.ts";

test.each([
  ["GET|POST", ["GET", "POST"]],
  ["(GET|POST)", ["GET", "POST"]],
  ["^(?:GET|POST)$", ["GET", "POST"]],
  ["a\\.b", ["a.b"]],
  ["a|", ["a", ""]],
  ["a\\$", ["a$"]],
  ["[ab]", undefined],
  ["ab?", undefined],
  ["(a)|(b)", undefined],
  ["(?i)a", undefined],
  ["(?i:a)", undefined],
  ["\\d", undefined],
  ["a.b", undefined],
])("words of %s", (pattern, words) => {
  expect(literalAlternatives(pattern)).toEqual(words);
});

test.each([
  ["/users/[^/]+/orders", { parts: ["/users/", SEGMENT, "/orders"], tail: "nothing" }],
  ["^/v1\\.0/.*$", { parts: ["/v1.0/"], tail: "anything" }],
  ["/a/[^/]+(/.*)?", { parts: ["/a/", SEGMENT], tail: "segments" }],
  ["/a/[^/]+.*", undefined],
  ["/a/[^/]+b", undefined],
  ["/a/[^/]*", undefined],
  ["/a/[^/]+?", undefined],
  ["/a+", undefined],
])("shape of %s", (pattern, shape) => {
  expect(pathShape(pattern)).toEqual(shape);
});

const piece = fc.constantFrom(
  "a",
  "b",
  "/",
  ".",
  "\\.",
  "|",
  "(",
  ")",
  "?",
  "*",
  "+",
  "^",
  "$",
  "[^/]+",
  ".*",
  "(/.*)?",
  "\\$",
);
const pattern = fc
  .array(piece, { minLength: 1, maxLength: 7 })
  .map((pieces) => pieces.join(""))
  .filter((text) => {
    try {
      RE2JS.compile(text);
      return true;
    } catch {
      return false;
    }
  });
const text = fc.array(fc.constantFrom("a", "b", "/", ".", "$"), { maxLength: 6 }).map((chars) => chars.join(""));

test("any pattern that is taken for words, a shape or a prefix means the same to RE2", () => {
  fc.assert(
    fc.property(pattern, text, (regex, input) => {
      const matches = RE2JS.compile(regex).testExact(input);
      const words = literalAlternatives(regex);
      if (words !== undefined) expect(words.includes(input)).toBe(matches);
      const shape = pathShape(regex);
      if (shape !== undefined) {
        const source = shape.parts
          .map((part) => (part === SEGMENT ? "[^/]+" : part.replace(/[.$|()?*+^\\[\]]/g, "\\$&")))
          .join("");
        const tail = { nothing: "", anything: ".*", something: ".+", segments: "(/.*)?" }[shape.tail];
        expect(new RegExp(`^${source}${tail}$`).test(input)).toBe(matches);
      }
      if (matches) expect(input.startsWith(literalPrefix(regex))).toBe(true);
    }),
    { numRuns: 5_000, examples: [["a(?)?^", ""]] },
  );
});

const compilesInJavaScript = (regex: string) => {
  try {
    return new RegExp(`^(?:${regex})$`);
  } catch {
    return undefined;
  }
};

test("RE2's full match agrees with JavaScript's on what both know", () => {
  fc.assert(
    fc.property(pattern, text, (regex, input) => {
      const ours = compilesInJavaScript(regex);
      fc.pre(ours !== undefined);
      expect(RE2JS.compile(regex).testExact(input)).toBe(ours?.test(input));
    }),
    { numRuns: 3_000 },
  );
});

test.each(["(a+)+$", "(a|aa)+$", "(a*)*b", "([a-z]+)*\\d"])(
  "sec 19 %s does not make a long path a long wait",
  (pattern) => {
    const place = Place.root();
    // An engine that backtracks would not come back from this.
    expect(compileFullMatch(create(RegexMatcherSchema, { regex: pattern }), place)?.(`${"a".repeat(50_000)}!`)).toBe(
      false,
    );
    expect(place.problems).toEqual([]);
  },
);
