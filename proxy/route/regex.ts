import { RE2JS } from "re2js";

import type { RegexMatcher } from "#envoy/type/matcher/v3/regex_pb.ts";

import type { Place } from "../compile.ts";
import { fromWire, isAscii } from "./text.ts";

/** Whether a wire string matches. */
export type StringTest = (value: string) => boolean;

/** Longer patterns are refused: no route needs one, and compiling is not free. */
const PATTERN_LENGTH_MAX = 4096;

/** Stands for `[^/]+` in a path pattern. */
export const SEGMENT = Symbol("[^/]+");

/** A regular expression that is no more than literals and `[^/]+`, with an optional open end. */
export interface PathShape {
  readonly parts: readonly (string | typeof SEGMENT)[];
  /** What may follow: nothing, `.*`, `.+`, or `(/.*)?`. */
  readonly tail: "nothing" | "anything" | "something" | "segments";
}

/** The pattern's text. Undefined, and a problem reported, when it is empty or too long. */
export function patternOf(matcher: RegexMatcher | undefined, place: Place): string | undefined {
  const pattern = matcher?.regex ?? "";
  const at = place.field("regex");
  if (pattern === "") at.refuse("must not be empty");
  else if (pattern.length > PATTERN_LENGTH_MAX) at.refuse(`must not be longer than ${PATTERN_LENGTH_MAX} characters`);
  else return pattern;
  return undefined;
}

/** Compiles RE2 syntax. Undefined, and a problem reported, when it is not RE2: back-references, look-around, a syntax error. */
export function compileRe2(pattern: string, place: Place): RE2JS | undefined {
  try {
    return RE2JS.compile(pattern);
  } catch (error) {
    place.field("regex").refuse(`not RE2 syntax: ${error instanceof Error ? error.message : String(error)}`);
    return undefined;
  }
}

/**
 * A test for a full match (Envoy uses RE2::FullMatch everywhere). Lists of plain words become a set; they need no engine, which is not only
 * faster to run but also, by far, to compile.
 */
export function compileFullMatch(matcher: RegexMatcher | undefined, place: Place): StringTest | undefined {
  const pattern = patternOf(matcher, place);
  if (pattern === undefined) return undefined;
  const known = tests.get(pattern);
  if (known !== undefined) return known;
  const test = fullMatchOf(pattern, place);
  if (test === undefined) return undefined;
  if (tests.size >= TESTS_MAX) tests.clear();
  tests.set(pattern, test);
  return test;
}

/** Thousands of routes have the same few patterns, as that of their methods; they share what is made of them. */
const TESTS_MAX = 256;
const tests = new Map<string, StringTest>();

function fullMatchOf(pattern: string, place: Place): StringTest | undefined {
  const words = literalAlternatives(pattern);
  if (words?.length === 1) {
    const [word] = words;
    return (value) => value === word;
  }
  if (words !== undefined) {
    const set = new Set(words);
    return (value) => set.has(value);
  }
  const compiled = compileRe2(pattern, place);
  return compiled && ((value) => compiled.testExact(fromWire(value)));
}

// All that means something in a pattern. "/" and "-" don't outside of a class.
const META = new Set("\\.+*?()[]{}|^$");

/** Takes `^` and `$` off the ends: they say nothing more in a full match. */
function withoutAnchors(pattern: string): string {
  const start = pattern.startsWith("^") ? 1 : 0;
  const anchored = pattern.endsWith("$") && !pattern.endsWith("\\$") && pattern.length > start;
  return pattern.slice(start, anchored ? -1 : undefined);
}

/** Reads literal characters from `at` up to the first that is not one. */
function literalAt(pattern: string, at: number): { readonly text: string; readonly end: number } {
  let text = "";
  let end = at;
  while (end < pattern.length) {
    const char = pattern.charAt(end);
    let taken = 1;
    let literal = char;
    if (char === "\\") {
      // An escaped letter or digit is a class or a back-reference; any other escaped character is itself.
      literal = pattern.charAt(end + 1);
      taken = 2;
      if (literal === "" || /[A-Za-z0-9_]/.test(literal)) break;
    } else if (META.has(char)) break;
    text += literal;
    end += taken;
  }
  // A quantifier belongs to the character before it.
  const next = pattern.charAt(end);
  if (text !== "" && (next === "*" || next === "+" || next === "?" || next === "{")) {
    const last = pattern.charAt(end - 2) === "\\" ? 2 : 1;
    return { text: text.slice(0, -1), end: end - last };
  }
  return { text, end };
}

/** The words of a pattern such as `GET|POST` or `(a|b)`; undefined when it is more than that. */
export function literalAlternatives(pattern: string): string[] | undefined {
  if (!isAscii(pattern)) return undefined;
  // "^a|b$" is "(^a)|(b$)": in a full match the anchors still say nothing, so they may go in either reading.
  let inner = withoutAnchors(pattern);
  const group = /^\((?:\?:)?([^()]*)\)$/.exec(inner);
  if (group !== null && !inner.endsWith("\\)")) inner = group[1] ?? "";
  const words: string[] = [];
  for (let at = 0; ; at++) {
    const { text, end } = literalAt(inner, at);
    words.push(text);
    if (end === inner.length) return words;
    if (inner.charAt(end) !== "|") return undefined;
    at = end;
  }
}

const TAILS: Readonly<Record<string, PathShape["tail"]>> = {
  "": "nothing",
  ".*": "anything",
  ".+": "something",
  "(/.*)?": "segments",
  "(?:/.*)?": "segments",
};

/** The shape of a pattern of literals and `[^/]+`; undefined when it is more than that. */
export function pathShape(pattern: string): PathShape | undefined {
  if (!isAscii(pattern)) return undefined;
  const inner = withoutAnchors(pattern);
  const parts: (string | typeof SEGMENT)[] = [];
  let at = 0;
  for (;;) {
    const { text, end } = literalAt(inner, at);
    // After `[^/]+` the match goes on in one way only when a "/" or the end comes next.
    if (parts.at(-1) === SEGMENT && text !== "" && !text.startsWith("/")) return undefined;
    if (text !== "") parts.push(text);
    at = end;
    const tail = TAILS[inner.slice(at)];
    if (tail !== undefined) {
      if (parts.at(-1) === SEGMENT && (tail === "anything" || tail === "something")) return undefined;
      return parts.length === 0 ? undefined : { parts, tail };
    }
    if (parts.at(-1) === SEGMENT || !inner.startsWith("[^/]+", at)) return undefined;
    parts.push(SEGMENT);
    at += "[^/]+".length;
    const next = inner.charAt(at);
    if (next === "*" || next === "+" || next === "?" || next === "{") return undefined;
  }
}

/** The characters that every match starts with, so that an index need not try the pattern elsewhere. */
export function literalPrefix(pattern: string): string {
  // A "|" at the top level makes any start possible; one inside brackets costs no more than a shorter prefix.
  // A group of mere flags, "(?i)", takes no room in RE2: a quantifier behind it repeats what is before it.
  if (!isAscii(pattern) || pattern.includes("|") || pattern.includes("(?")) return "";
  return literalAt(pattern, pattern.startsWith("^") ? 1 : 0).text;
}
