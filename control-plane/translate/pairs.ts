/**
 * Regular expressions that find one pair in a list of `name=value` pairs, as in a query or a Cookie header: the first
 * with the name, as data planes read them, and without lookaround, which RE2 lacks.
 */
import { literalPattern, matchesWhole } from "../model/regex.ts";

/** How pairs stand beside each other. */
interface PairSyntax {
  /** The character after a pair. */
  readonly separator: string;
  /** Characters before a name that are no part of it. */
  readonly blank: string;
}

const query: PairSyntax = { separator: "&", blank: "" };
const cookies: PairSyntax = { separator: ";", blank: " \\t" };

/** Matches a whole path with a query whose first parameter `name` has a value that `value` matches. */
export function queryPattern(name: string, value: string): string {
  return `[^?]*\\?${firstPair(query, name, value)}`;
}

/** Matches a whole Cookie header (RFC 6265, 4.2.1) whose first cookie `name` has a value that `value` matches. */
export const cookiePattern = (name: string, value: string): string => firstPair(cookies, name, value);

/** `value` must match nothing that holds the separator, and stand beside other text as it is. */
function firstPair(syntax: PairSyntax, name: string, value: string): string {
  const { separator, blank } = syntax;
  const skip = blank === "" ? "" : `[${blank}]*`;
  const different = otherName(syntax, name);
  // A parameter without "=" has the empty value; text without "=" is no cookie.
  const other =
    syntax === query ? `${different}(?:=[^${separator}]*)?` : `(?:[^${separator}=]*|${different}=[^${separator}]*)`;
  const others = `(?:${skip}${other}${separator})*`;
  const found = syntax === query && matchesWhole(value, "") ? `(?:=${value})?` : `=${value}`;
  return `${others}${skip}${literalPattern(name)}${found}${skip}(?:${separator}.*)?`;
}

/**
 * Matches every name but one: at each character of it, a name that goes another way, or one that ends here; after the
 * last, a longer one.
 */
function otherName({ separator, blank }: PairSyntax, name: string): string {
  const rest = `[^${separator}=]`;
  let pattern = `${rest}+`;
  for (let at = name.length - 1; at >= 0; at--) {
    const character = name.charAt(at);
    // Blanks before a name are skipped, so a name that begins with one would be the same name once more.
    const different = `[^${escaped(character)}${separator}=${at === 0 ? blank : ""}]${rest}*`;
    pattern = `(?:${different}|${literalPattern(character)}${pattern})?`;
  }
  return pattern;
}

/** A character inside a class. */
const escaped = (character: string) => character.replace(/[\\\]^-]/, "\\$&");
