import type { HeaderMatcher, QueryParameterMatcher } from "#envoy/config/route/v3/route_components_pb.ts";
import type { StringMatcher } from "#envoy/type/matcher/v3/string_pb.ts";

import type { Place } from "../compile.ts";
import type { RequestHead } from "../request.ts";
import { compileFullMatch, type StringTest } from "./regex.ts";
import { asciiLower, toWire } from "./text.ts";

/** Whether a request fulfils a condition. */
export type HeadTest = (head: RequestHead) => boolean;

const INT64_MIN = -(2n ** 63n);
const INT64_MAX = 2n ** 63n - 1n;

type Comparison = "exact" | "prefix" | "suffix" | "contains";

function compare(kind: Comparison, text: string, ignoreCase: boolean, place: Place): StringTest | undefined {
  if (text === "" && kind !== "exact") {
    place.field(kind).refuse("must not be empty");
    return undefined;
  }
  const wanted = ignoreCase ? asciiLower(toWire(text)) : toWire(text);
  const test: StringTest = {
    exact: (value: string) => value === wanted,
    prefix: (value: string) => value.startsWith(wanted),
    suffix: (value: string) => value.endsWith(wanted),
    contains: (value: string) => value.includes(wanted),
  }[kind];
  return ignoreCase ? (value) => test(asciiLower(value)) : test;
}

/** Compiles a StringMatcher. Undefined: a problem was reported. */
export function compileStringMatcher(matcher: StringMatcher | undefined, place: Place): StringTest | undefined {
  const pattern = matcher?.matchPattern;
  switch (pattern?.case) {
    case "exact":
    case "prefix":
    case "suffix":
    case "contains":
      return compare(pattern.case, pattern.value, matcher?.ignoreCase ?? false, place);
    case "safeRegex":
      // ignore_case has no effect for regular expressions, as Envoy's StringMatcher says.
      return compileFullMatch(pattern.value, place.field("safe_regex"));
    case "custom":
      place.field("custom").refuse("not supported");
      return undefined;
    default:
      place.refuse("one of exact, prefix, suffix, safe_regex, contains must be set");
      return undefined;
  }
}

/** Whether one of the values of a header, or the pseudo-header, passes a test; undefined: it isn't there. */
function valueTest(name: string, test: StringTest): (head: RequestHead) => boolean | undefined {
  const lower = name.toLowerCase();
  const read = headerReader(lower);
  if (lower.startsWith(":") || lower === "host") {
    return (head) => {
      const value = read(head);
      return value === undefined ? undefined : test(value);
    };
  }
  return ({ headers: { names, values } }) => {
    let passed: boolean | undefined;
    for (let at = 0; at < names.length; at++) {
      if (names[at] !== lower) continue;
      if (test(values[at] as string)) return true;
      passed = false;
    }
    return passed;
  };
}

/** Reads the first field of a name, or one of the pseudo-headers. */
export function firstHeaderReader(name: string): (head: RequestHead) => string | undefined {
  const lower = name.toLowerCase();
  if (lower.startsWith(":") || lower === "host") return headerReader(lower);
  return ({ headers: { names, values } }) => values[names.indexOf(lower)];
}

/** Reads a header or one of the pseudo-headers; several fields of a name are joined by "," (Envoy getAllOfHeaderAsString). */
export function headerReader(name: string): (head: RequestHead) => string | undefined {
  const lower = name.toLowerCase();
  switch (lower) {
    case ":method":
      return (head) => head.method;
    case ":authority":
    case "host": // Envoy keeps Host as :authority, and looks either up there.
      return (head) => head.authority;
    case ":path":
      return (head) => head.path;
    case ":scheme":
      return (head) => head.scheme;
    default:
      return (head) => head.headers.get(lower);
  }
}

function headerValueTest(matcher: HeaderMatcher, place: Place): StringTest | undefined {
  const specifier = matcher.headerMatchSpecifier;
  switch (specifier.case) {
    case "exactMatch":
      return compare("exact", specifier.value, false, place);
    case "prefixMatch":
      return compare("prefix", specifier.value, false, place);
    case "suffixMatch":
      return compare("suffix", specifier.value, false, place);
    case "containsMatch":
      return compare("contains", specifier.value, false, place);
    case "safeRegexMatch":
      return compileFullMatch(specifier.value, place.field("safe_regex_match"));
    case "stringMatch":
      return compileStringMatcher(specifier.value, place.field("string_match"));
    case "rangeMatch": {
      const { start, end } = specifier.value;
      return (value) => inRange(value, start, end);
    }
    default:
      return () => true;
  }
}

/** The whole value as a decimal int64 within [start, end). */
function inRange(value: string, start: bigint, end: bigint): boolean {
  if (!/^[+-]?[0-9]{1,40}$/.test(value)) return false;
  const number = BigInt(value.startsWith("+") ? value.slice(1) : value);
  return number >= INT64_MIN && number <= INT64_MAX && number >= start && number < end;
}

/**
 * Compiles a HeaderMatcher. Of several fields of the name, one must fit: joined, a client could hide what it says behind something else. A missing
 * header fails every matcher, an inverted one too, unless it counts as empty; only present_match can ask for absence (Envoy HeaderUtility).
 */
export function compileHeaderMatcher(matcher: HeaderMatcher, place: Place): HeadTest | undefined {
  if (matcher.name === "") {
    place.field("name").refuse("must not be empty");
    return undefined;
  }
  const { treatMissingHeaderAsEmpty, invertMatch, headerMatchSpecifier: specifier } = matcher;
  if (specifier.case === undefined || specifier.case === "presentMatch") {
    const read = headerReader(matcher.name);
    const wanted = (specifier.case === undefined || specifier.value) !== invertMatch;
    return (head) => (treatMissingHeaderAsEmpty || read(head) !== undefined) === wanted;
  }
  const test = headerValueTest(matcher, place);
  if (test === undefined) return undefined;
  const passes = valueTest(matcher.name, test);
  return (head) => {
    const passed = passes(head) ?? (treatMissingHeaderAsEmpty ? test("") : undefined);
    return passed !== undefined && passed !== invertMatch;
  };
}

/**
 * The first value of a query parameter, as it stands in the path: Envoy splits at "&" and "=" and decodes nothing for matching
 * (QueryParamsMulti::parseQueryString). A parameter without "=" is there, and empty.
 */
export function queryParameter(path: string, name: string): string | undefined {
  const query = path.indexOf("?");
  if (query < 0) return undefined;
  for (let start = query + 1; start <= path.length; ) {
    const ampersand = path.indexOf("&", start);
    const end = ampersand < 0 ? path.length : ampersand;
    const afterName = start + name.length;
    if (path.startsWith(name, start) && afterName <= end) {
      if (afterName === end) return "";
      if (path.charCodeAt(afterName) === 61 /* = */) return path.slice(afterName + 1, end);
    }
    start = end + 1;
  }
  return undefined;
}

/** Compiles a QueryParameterMatcher; without a specifier the parameter must be there. */
export function compileQueryMatcher(matcher: QueryParameterMatcher, place: Place): HeadTest | undefined {
  if (matcher.name === "") {
    place.field("name").refuse("must not be empty");
    return undefined;
  }
  const name = toWire(matcher.name);
  const specifier = matcher.queryParameterMatchSpecifier;
  if (specifier.case === "stringMatch") {
    const test = compileStringMatcher(specifier.value, place.field("string_match"));
    if (test === undefined) return undefined;
    return (head) => {
      const value = queryParameter(head.path, name);
      return value !== undefined && test(value);
    };
  }
  const wanted = specifier.case === undefined || specifier.value;
  return (head) => (queryParameter(head.path, name) !== undefined) === wanted;
}
