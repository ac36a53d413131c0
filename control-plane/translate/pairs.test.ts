import fc from "fast-check";
import { expect, test } from "vitest";

import { literalPattern, matchesWhole } from "../model/regex.ts";
import { cookiePattern, queryPattern } from "./pairs.ts";

/** Envoy's Utility::QueryParamsMulti::parseQueryString, and the first value of a key. */
function firstParameter(path: string, name: string): string | undefined {
  const query = path.includes("?") ? path.slice(path.indexOf("?") + 1) : undefined;
  if (query === undefined) return undefined;
  for (const pair of query.split("&")) {
    const [key = "", ...value] = pair.split("=");
    if (key === name) return value.join("=");
  }
  return undefined;
}

/** RFC 6265, 4.2.1, as Envoy reads it: the first cookie of a name. */
function firstCookie(header: string, name: string): string | undefined {
  for (const pair of header.split(";")) {
    const [key = "", ...value] = pair.trimStart().split("=");
    if (key === name && value.length > 0) return value.join("=").trimEnd();
  }
  return undefined;
}

// Few letters, so that names and values often meet.
const text = (letters: string, maxLength: number) =>
  fc.string({ unit: fc.constantFrom(...letters.split("")), maxLength });
const name = fc.string({ unit: fc.constantFrom("a", "b", ".", "-"), minLength: 1, maxLength: 3 });
const value = text("ab.", 2);

test("a query pattern finds the first parameter of its name", () => {
  fc.assert(
    fc.property(name, value, text("ab.-=&?/", 12), (key, wanted, rest) => {
      const path = `/${rest}`;
      expect(matchesWhole(queryPattern(key, literalPattern(wanted)), path)).toBe(firstParameter(path, key) === wanted);
    }),
    {
      numRuns: 1000,
      examples: [
        ["a", "", "?a"],
        ["a", "", "?a=&a=b"],
        ["ab", "b", "?a=b&ab=b"],
      ],
    },
  );
});

test("a cookie pattern finds the first cookie of its name", () => {
  fc.assert(
    fc.property(name, value, text("ab.-=; ", 12), (key, wanted, header) => {
      const expected = firstCookie(header, key) === wanted;
      expect(matchesWhole(cookiePattern(key, literalPattern(wanted)), header)).toBe(expected);
    }),
    {
      numRuns: 1000,
      examples: [
        ["a", "b", "x=1; a=b; a=c"],
        ["a", "", "a="],
        ["ab", "b", " ab=b ;"],
      ],
    },
  );
});
