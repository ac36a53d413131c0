import fc from "fast-check";
import { expect, test } from "vitest";

import { confined } from "./confine.ts";
import { matchesSomewhere, matchesWhole, patternProblem } from "./regex.ts";

const OUTSIDE = "&#";

const atom = fc.constantFrom(
  "a",
  "b",
  ".",
  "[ab]",
  "[^a]",
  "\\W",
  "\\w",
  "\\S",
  "\\D",
  "\\.",
  "(?:a|b)",
  "(a.)",
  "\\b",
  "[^]a]",
);
const repeated = fc.tuple(atom, fc.constantFrom("", "*", "+", "?", "{2}", "*?")).map((parts) => parts.join(""));
const sequence = fc.array(repeated, { maxLength: 4 }).map((parts) => parts.join(""));
const alternative = fc
  .tuple(fc.constantFrom("", "^"), sequence, fc.constantFrom("", "$"))
  .map((parts) => parts.join(""));
const pattern = fc
  .tuple(fc.constantFrom("", "(?i)"), fc.array(alternative, { minLength: 1, maxLength: 3 }))
  .map(([flags, alternatives]) => flags + alternatives.join("|"))
  .filter((text) => patternProblem(text) === undefined);
const text = (letters: string) => fc.string({ unit: fc.constantFrom(...letters.split("")), maxLength: 5 });

test("a confined pattern matches the values that the pattern matches, as a whole", () => {
  fc.assert(
    fc.property(pattern, text("abA.-]"), (given, value) => {
      const inside = confined(given, OUTSIDE);
      expect(inside.ok && matchesWhole(inside.value, value)).toBe(matchesSomewhere(given, value));
    }),
    { numRuns: 1000 },
  );
});

test("a confined pattern matches nothing with a character from outside", () => {
  fc.assert(
    fc.property(pattern, text("ab"), fc.constantFrom("&", "#"), text("ab"), (given, before, character, after) => {
      const inside = confined(given, OUTSIDE);
      expect(inside.ok && matchesWhole(inside.value, `${before}${character}${after}`)).toBe(false);
    }),
    { numRuns: 1000 },
  );
});

test.each([
  ["a&b", 'takes "&"'],
  ["[!-~]", 'takes "&"'],
  ["[[:punct:]]", 'takes "&"'],
  ["\\x26", 'takes "&"'],
  ["\\pP", 'takes "&"'],
  ["\\Qa&b\\E", 'never holds "&"'],
  ["a$b", "may stand only at the two ends"],
  ["(^a|b)", "may stand only at the two ends"],
  ["\\Aa", "may stand only at the two ends"],
  ["(?m)a", "flag m"],
])("%j is refused: %s", (given, reason) => {
  const inside = confined(given, OUTSIDE);
  expect(inside.ok ? "" : inside.problems.map(({ message }) => message).join()).toContain(reason);
});
