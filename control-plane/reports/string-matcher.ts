import { RE2JS } from "re2js";

import type { StringMatcher } from "#envoy/type/matcher/v3/string_pb.ts";

/** What matches, or the reason why it cannot be told. */
export type Compiled<Value> = ((value: Value) => boolean) | { readonly problem: string };

const PATTERN_LENGTH_MAX = 1024;

/** Reads Envoy's StringMatcher; `ignore_case` means nothing to a regular expression, as there. */
export function compileStringMatcher({ matchPattern, ignoreCase }: StringMatcher): Compiled<string> {
  const fold = (text: string) => (ignoreCase ? text.toLowerCase() : text);
  switch (matchPattern.case) {
    case "exact":
      return (text) => fold(text) === fold(matchPattern.value);
    case "prefix":
      return (text) => fold(text).startsWith(fold(matchPattern.value));
    case "suffix":
      return (text) => fold(text).endsWith(fold(matchPattern.value));
    case "contains":
      return (text) => fold(text).includes(fold(matchPattern.value));
    case "safeRegex":
      return compileRegex(matchPattern.value.regex);
    default:
      return { problem: matchPattern.case === undefined ? "has no pattern" : `${matchPattern.case} is not supported` };
  }
}

function compileRegex(regex: string): Compiled<string> {
  if (regex.length > PATTERN_LENGTH_MAX)
    return { problem: `the pattern is longer than ${PATTERN_LENGTH_MAX} characters` };
  try {
    const pattern = RE2JS.compile(regex);
    return (text) => pattern.matches(text);
  } catch {
    return { problem: "the pattern is no regular expression (RE2)" };
  }
}
