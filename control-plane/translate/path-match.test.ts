import fc from "fast-check";
import { expect, test } from "vitest";

import { type PathPattern, parsePath, parsePathPrefix } from "../model/paths.ts";
import type { Parsed } from "../model/problem.ts";
import { matchesWhole } from "../model/regex.ts";
import { type PathMatch, pathMatches } from "./path-match.ts";

function value(parsed: Parsed<PathPattern>): PathPattern {
  if (!parsed.ok) throw new Error("not a path");
  return parsed.value;
}

/** What goes upstream if a data plane takes `path` for this match; undefined if it doesn't. */
function upstreamPath({ specifier, rewrite }: PathMatch, path: string): string | undefined {
  switch (specifier.case) {
    case "path":
      return path === specifier.value ? (rewrite.prefixRewrite ?? path) : undefined;
    case "prefix":
      if (!path.startsWith(specifier.value)) return undefined;
      return (rewrite.prefixRewrite ?? specifier.value) + path.slice(specifier.value.length);
    case "safeRegex":
      if (!matchesWhole(specifier.value.regex, path)) return undefined;
      return path.replace(new RegExp(rewrite.regexRewrite?.pattern?.regex ?? "^"), "");
    default:
      throw new Error(`no ${specifier.case} expected`);
  }
}

/** The same from the words of the model: the prefix is taken off, nothing left is "/", the rest meets the pattern. */
function expectedPath(prefix: string, pattern: string, strip: boolean, path: string): string | undefined {
  if (path !== prefix && !path.startsWith(`${prefix}/`)) return undefined;
  const rest = path.slice(prefix.length) || "/";
  const given = pattern.split("/");
  const segments = rest.split("/");
  const wild = given.at(-1) === "*";
  if (wild ? segments.length < given.length : segments.length !== given.length) return undefined;
  for (const [at, segment] of given.entries()) {
    if (wild && at === given.length - 1) break;
    const actual = segments[at];
    if (segment.startsWith(":") ? actual === "" : actual !== segment) return undefined;
  }
  return strip ? rest : path;
}

const prefixes = fc.constantFrom("", "/a", "/a/b", "/a.b");
const patterns = fc.constantFrom("/", "/*", "/a", "/a/", "/a/*", "/:x", "/:x/a", "/a/:x/*", "/:x/:y");
const paths = fc
  .array(fc.constantFrom("", "a", "b", "axb", "a.b"), { minLength: 1, maxLength: 5 })
  .map((segments) => `/${segments.join("/")}`);

test("a path matches, and goes upstream, as the model says", () => {
  fc.assert(
    fc.property(prefixes, patterns, fc.boolean(), paths, (prefix, pattern, strip, path) => {
      const matches = pathMatches(value(parsePathPrefix(prefix)), value(parsePath(pattern)), strip);
      const results = matches.map((match) => upstreamPath(match, path)).filter((result) => result !== undefined);
      const expected = expectedPath(prefix, pattern, strip, path);
      expect(results).toEqual(expected === undefined ? [] : [expected]);
    }),
    { numRuns: 2000 },
  );
});
