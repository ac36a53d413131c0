import type { RE2JS } from "re2js";

import type { RegexMatchAndSubstitute } from "#envoy/type/matcher/v3/regex_pb.ts";

import type { Place } from "../compile.ts";
import { compileRe2, literalAlternatives, patternOf } from "./regex.ts";
import { fromWire, pathOnly, toWire } from "./text.ts";

/** Makes another path of a path; both with query. */
export type PathRewrite = (path: string) => string;

/** prefix_rewrite: what matched is replaced, what follows it (query included) stays. */
export function prefixRewrite(replacement: string, matchedLength: (path: string) => number): PathRewrite {
  const wire = toWire(replacement);
  return (path) => wire + path.slice(matchedLength(path));
}

/** regex_rewrite: every match in the path without its query is replaced; a path of which nothing is left stays. Undefined: a problem was reported. */
export function regexRewrite(rewrite: RegexMatchAndSubstitute, place: Place): PathRewrite | undefined {
  const pattern = patternOf(rewrite.pattern, place.field("pattern"));
  if (pattern === undefined) return undefined;
  // "^/prefix" cut off or replaced, the most usual rewrite, needs no engine.
  const words = pattern.startsWith("^") && !pattern.endsWith("$") ? literalAlternatives(pattern) : undefined;
  if (words?.length === 1 && !pattern.startsWith("^(") && !rewrite.substitution.includes("\\")) {
    const prefix = words[0] ?? "";
    const replacement = toWire(rewrite.substitution);
    return (path) => {
      if (!path.startsWith(prefix)) return path;
      return replacement === "" && pathOnly(path).length === prefix.length
        ? path
        : replacement + path.slice(prefix.length);
    };
  }
  const compiled = compileRe2(pattern, place.field("pattern"));
  if (compiled === undefined) return undefined;
  const template = parseSubstitution(rewrite.substitution, compiled.groupCount(), place.field("substitution"));
  if (template === undefined) return undefined;
  return (path) => {
    const only = pathOnly(path);
    const rewritten = toWire(replaceAll(compiled, template, fromWire(only)));
    return rewritten === "" ? path : rewritten + path.slice(only.length);
  };
}

/** Literal text, or the number of a group. */
type Template = readonly (string | number)[];

/** Reads RE2's substitution syntax: \0 to \9 are groups, \\ is a backslash (RE2::CheckRewriteString). */
function parseSubstitution(substitution: string, groups: number, place: Place): Template | undefined {
  const template: (string | number)[] = [];
  for (const [piece] of substitution.matchAll(/\\[^]?|[^\\]+/g)) {
    if (!piece.startsWith("\\")) template.push(piece);
    else if (piece === "\\\\") template.push("\\");
    else if (/^\\[0-9]$/.test(piece)) {
      const group = Number(piece.slice(1));
      if (group > groups) {
        place.refuse(`${piece} names a group that the pattern does not have (it has ${groups})`);
        return undefined;
      }
      template.push(group);
    } else {
      place.refuse("a backslash must be followed by a digit or a backslash");
      return undefined;
    }
  }
  return template;
}

/** RE2::GlobalReplace: matches from left to right; an empty match right after another match is not replaced. */
function replaceAll(pattern: RE2JS, template: Template, text: string): string {
  const matcher = pattern.matcher(text);
  let result = "";
  let copied = 0;
  let lastEnd = -1;
  while (matcher.find()) {
    const start = matcher.start();
    const end = matcher.end();
    if (start === end && start === lastEnd) continue;
    result += text.slice(copied, start);
    for (const piece of template) result += typeof piece === "string" ? piece : (matcher.group(piece) ?? "");
    copied = end;
    lastEnd = end;
  }
  return result + text.slice(copied);
}
