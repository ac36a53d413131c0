/** Regular expressions as Envoy reads them: RE2, which takes time linear in the text. */
import { RE2JS } from "re2js";

import { quoted } from "./problem.ts";

/** Envoy compiles every pattern in every worker; a longer one is a mistake. */
const PATTERN_LENGTH_MAX = 1024;

/** What is wrong with a pattern, or undefined. */
export function patternProblem(pattern: string): string | undefined {
  if (pattern.length > PATTERN_LENGTH_MAX) return `the pattern is longer than ${PATTERN_LENGTH_MAX} characters`;
  if (/(^|[^\\])(\\\\)*\(\?<?[=!]/.test(pattern)) {
    return `${quoted(pattern)} looks ahead or behind, which RE2 can't; use "!" to negate a condition instead`;
  }
  if (/(^|[^\\])(\\\\)*\\[1-9k]/.test(pattern)) return `${quoted(pattern)} refers back to a group, which RE2 can't`;
  try {
    RE2JS.compile(pattern);
    return undefined;
  } catch (error) {
    const reason = error instanceof Error ? error.message : "unreadable";
    return `${quoted(pattern)} is not a regular expression (RE2): ${reason}`;
  }
}

/** Whether a pattern matches some part of a text, be it an empty one. */
export const matchesSomewhere = (pattern: string, text: string): boolean => RE2JS.compile(pattern).matcher(text).find();

/** Whether a pattern matches all of a text, as Envoy's safe_regex does. */
export const matchesWhole = (pattern: string, text: string): boolean => RE2JS.compile(pattern).matches(text);

/** A pattern that matches this text and nothing else. */
export const literalPattern = (text: string): string => text.replaceAll(/[\\.+*?()|[\]{}^$]/g, "\\$&");
