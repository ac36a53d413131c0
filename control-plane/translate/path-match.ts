import { create } from "@bufbuild/protobuf";

import type { RouteAction, RouteMatch } from "#envoy/config/route/v3/route_components_pb.ts";
import { RegexMatcherSchema, type RegexMatcher } from "#envoy/type/matcher/v3/regex_pb.ts";

import { isExact } from "../model/order.ts";
import type { PathPattern } from "../model/paths.ts";
import { literalPattern } from "../model/regex.ts";

/** One way in which a request's path can match a pattern, and the path that goes upstream then. */
export interface PathMatch {
  /** For the order of routes: all that the operator's pattern covers, not only this part of it. */
  readonly pattern: PathPattern;
  readonly specifier: RouteMatch["pathSpecifier"];
  /** Empty where the path stays as it is. */
  readonly rewrite: Partial<Pick<RouteAction, "prefixRewrite" | "regexRewrite">>;
}

/** A regular expression as Envoy and the native proxy take it: RE2, the whole text. */
export const regexMatcher = (regex: string): RegexMatcher => create(RegexMatcherSchema, { regex });

/**
 * The matches of a route's path under its service's prefix. A path is what is left after the prefix is cut off, and
 * where nothing is left that is "/": under "/api", the path "/" stands for "/api" and "/api/".
 */
export function pathMatches(prefix: PathPattern, path: PathPattern, stripPrefix: boolean): PathMatch[] {
  const strip = stripPrefix && prefix.length > 0;
  const whole: PathPattern = [...prefix, ...path];
  const exact = (pattern: PathPattern, matched: PathPattern, upstream: PathPattern): PathMatch => ({
    pattern,
    specifier: { case: "path", value: textOf(matched) },
    // With a `path` match, Envoy replaces the whole path and keeps the query.
    rewrite: strip ? { prefixRewrite: textOf(upstream) } : {},
  });
  const root: PathPattern = [{ kind: "literal", text: "" }];

  if (isExact(path)) {
    const matches = [exact(whole, whole, path)];
    if (prefix.length > 0 && textOf(path) === "/") matches.unshift(exact(prefix, prefix, root));
    return matches;
  }
  const literals = path.slice(0, -1);
  if (path.at(-1)?.kind === "wildcard" && isExact(literals)) {
    const below: PathMatch = {
      pattern: whole,
      specifier: { case: "prefix", value: textOf([...prefix, ...literals, ...root]) },
      rewrite: strip ? { prefixRewrite: textOf([...literals, ...root]) } : {},
    };
    return prefix.length > 0 && literals.length === 0 ? [exact(whole, prefix, root), below] : [below];
  }
  return [
    {
      pattern: whole,
      specifier: { case: "safeRegex", value: regexMatcher(regexOf(whole)) },
      rewrite: strip
        ? { regexRewrite: { $typeName: "envoy.type.matcher.v3.RegexMatchAndSubstitute", ...withoutPrefix(prefix) } }
        : {},
    },
  ];
}

/**
 * The upstream path begins after the prefix; a pattern with parameters has more segments, so that something is always
 * left.
 */
const withoutPrefix = (prefix: PathPattern) => ({
  pattern: regexMatcher(`^${literalPattern(textOf(prefix))}`),
  substitution: "",
});

const textOf = (literals: PathPattern): string =>
  literals.map((segment) => `/${segment.kind === "literal" ? segment.text : ""}`).join("");

/** Matched against the whole path without its query. */
function regexOf(pattern: PathPattern): string {
  return pattern
    .map((segment) => {
      if (segment.kind === "parameter") return "/[^/]+";
      return segment.kind === "wildcard" ? "/.*" : `/${literalPattern(segment.text)}`;
    })
    .join("");
}
