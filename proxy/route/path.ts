import type { RouteMatch } from "#envoy/config/route/v3/route_components_pb.ts";
import type { RegexMatcher } from "#envoy/type/matcher/v3/regex_pb.ts";

import type { Place } from "../compile.ts";
import type { PathPattern } from "./path-index.ts";
import { compileRe2, literalAlternatives, literalPrefix, pathShape, patternOf } from "./regex.ts";
import { asciiLower, fromWire, pathOnly, toWire } from "./text.ts";

/** The path part of a RouteMatch. */
export interface PathMatch {
  /** The patterns, any of which takes the path; a regular expression that lists words has several. */
  readonly patterns: readonly PathPattern[];
  /** Whether the patterns are lower case, to be compared with the lower-cased path. */
  readonly ignoreCase: boolean;
  /** How much of a path that matched a prefix_rewrite replaces, in characters. */
  readonly matchedLength: (path: string) => number;
}

/** The whole path counts as matched for `path` and regular expressions (Envoy currentUrlPathAfterRewriteWithMatchedPath). */
const wholePath = (path: string) => pathOnly(path).length;

/** Compiles the path specifier of a RouteMatch. Undefined: a problem was reported. */
export function compilePath(match: RouteMatch, place: Place): PathMatch | undefined {
  const specifier = match.pathSpecifier;
  const ignoreCase = match.caseSensitive === false;
  const literal = (text: string) => (ignoreCase ? asciiLower(toWire(text)) : toWire(text));
  switch (specifier.case) {
    case "path":
      return {
        patterns: [{ parts: [literal(specifier.value)], tail: "nothing" }],
        ignoreCase,
        matchedLength: wholePath,
      };
    case "prefix": {
      const prefix = literal(specifier.value);
      const parts = prefix === "" ? [] : [prefix];
      return { patterns: [{ parts, tail: "anything" }], ignoreCase, matchedLength: () => prefix.length };
    }
    case "pathSeparatedPrefix": {
      const prefix = literal(specifier.value);
      if (prefix.endsWith("/") || /[?#]/.test(prefix) || prefix.length < 2) {
        place
          .field("path_separated_prefix")
          .refuse('must have at least two characters, no "?" or "#", and no "/" at its end');
        return undefined;
      }
      return {
        patterns: [{ parts: [prefix], tail: "segments" }],
        ignoreCase,
        matchedLength: () => prefix.length,
      };
    }
    case "safeRegex": {
      const patterns = regexPatterns(specifier.value, place.field("safe_regex"));
      // case_sensitive does not apply to regular expressions (RouteMatch.safe_regex).
      return patterns && { patterns, ignoreCase: false, matchedLength: wholePath };
    }
    case undefined:
      place.refuse("one of prefix, path, safe_regex, path_separated_prefix must be set");
      return undefined;
    default:
      place.field("path_match_policy").refuse("not supported");
      return undefined;
  }
}

/** The cheapest patterns that take what a regular expression takes. Only what is more than words and segments needs an engine. */
function regexPatterns(matcher: RegexMatcher, place: Place): readonly PathPattern[] | undefined {
  const regex = patternOf(matcher, place);
  if (regex === undefined) return undefined;
  const words = literalAlternatives(regex);
  if (words !== undefined) return words.map((word) => ({ parts: word === "" ? [] : [word], tail: "nothing" }));
  const shape = pathShape(regex);
  if (shape !== undefined) return [shape];
  const compiled = compileRe2(regex, place);
  if (compiled === undefined) return undefined;
  const prefix = literalPrefix(regex);
  const test = (path: string) => compiled.testExact(fromWire(path));
  return [{ parts: prefix === "" ? [] : [prefix], tail: "anything", test }];
}
