import { create } from "@bufbuild/protobuf";

import {
  type HeaderMatcher,
  HeaderMatcherSchema,
  type QueryParameterMatcher,
  QueryParameterMatcherSchema,
} from "#envoy/config/route/v3/route_components_pb.ts";
import { type StringMatcher, StringMatcherSchema } from "#envoy/type/matcher/v3/string_pb.ts";
import { Int64RangeSchema } from "#envoy/type/v3/range_pb.ts";

import type { Condition } from "../model/alternatives.ts";
import { passesEmpty, type Test } from "../model/vars-operator.ts";
import { outside } from "../model/vars-variable.ts";
import { cookiePattern, queryPattern } from "./pairs.ts";
import { regexMatcher } from "./path-match.ts";
import { valuePattern } from "./value-pattern.ts";

/** The matchers of one Envoy route; all of them must hold. */
export interface Matchers {
  readonly headers: HeaderMatcher[];
  readonly queryParameters: QueryParameterMatcher[];
}

/** The methods of a route; none means every method. What comes back is shared with other routes. */
export function methodMatchers(methods: readonly string[]): readonly HeaderMatcher[] {
  if (methods.length === 0) return [];
  const key = methods.join(" ");
  let found = ofMethods.get(key);
  if (found === undefined) {
    found = [header(":method", { kind: "oneOf", values: [...methods].sort() }, false)];
    if (ofMethods.size < OF_METHODS_MAX) ofMethods.set(key, found);
  }
  return found;
}

/** Of the few lists that most routes have, as they are written. */
const ofMethods = new Map<string, readonly HeaderMatcher[]>();
const OF_METHODS_MAX = 1_000;

/** Conditions that must all hold. */
export function conditionMatchers(conditions: readonly Condition[]): Matchers {
  const matchers: Matchers = { headers: [], queryParameters: [] };
  for (const condition of conditions) {
    const { variable, test, negated } = condition;
    // A query matcher can't be inverted: that a parameter is not there, or another, is seen in the path.
    if (variable.kind === "query" && !negated) matchers.queryParameters.push(queryParameter(variable.name, test));
    else matchers.headers.push(conditionHeader(condition));
  }
  return matchers;
}

function conditionHeader({ variable, test, negated }: Condition): HeaderMatcher {
  const whole = (name: string, regex: string) => header(name, { kind: "whole", regex }, negated);
  switch (variable.kind) {
    case "header":
      return header(variable.name, test, negated);
    case "method":
      return header(":method", test, negated);
    case "uri":
      return whole(":path", `${valuePattern(test, outside.uri)}(?:\\?.*)?`);
    case "host":
      // Hosts know no case, and clients name the port where it isn't the scheme's.
      return whole(":authority", `(?i:${valuePattern(test)})(?::[0-9]+)?`);
    case "cookie":
      return whole("cookie", cookiePattern(variable.name, valuePattern(test, outside.cookie)));
    case "query":
      return whole(":path", queryPattern(variable.name, valuePattern(test, outside.query)));
  }
}

/** A test of the model, or an expression for the whole header, which never matches an empty one. */
type HeaderTest = Test | { readonly kind: "whole"; readonly regex: string };

/**
 * A header that is absent fails every matcher of Envoy, inverted ones too, where an operator's "not" holds. Taken as
 * empty, it fails the test and so passes the inverted one; for tests that an empty header passes, absence is an
 * alternative of its own (model/alternatives.ts).
 */
function header(name: string, test: HeaderTest, negated: boolean): HeaderMatcher {
  if (test.kind === "present") {
    return create(HeaderMatcherSchema, { name, headerMatchSpecifier: { case: "presentMatch", value: !negated } });
  }
  const mayBeAbsent = !name.startsWith(":");
  return create(HeaderMatcherSchema, {
    name,
    headerMatchSpecifier: headerMatchSpecifier(test),
    invertMatch: negated,
    treatMissingHeaderAsEmpty: negated && mayBeAbsent && (test.kind === "whole" || !passesEmpty(test)),
  });
}

function headerMatchSpecifier(test: Exclude<HeaderTest, { kind: "present" }>): HeaderMatcher["headerMatchSpecifier"] {
  switch (test.kind) {
    case "whole":
      return { case: "stringMatch", value: regex(test.regex) };
    case "range":
      return { case: "rangeMatch", value: create(Int64RangeSchema, { start: test.from, end: test.to }) };
    case "oneOf":
    case "pattern":
      return { case: "stringMatch", value: stringMatcher(test) };
  }
}

function queryParameter(name: string, test: Test): QueryParameterMatcher {
  if (test.kind !== "oneOf" && test.kind !== "pattern") throw new Error(`no ${test.kind} test on a query parameter`);
  const queryParameterMatchSpecifier = { case: "stringMatch", value: stringMatcher(test) } as const;
  return create(QueryParameterMatcherSchema, { name, queryParameterMatchSpecifier });
}

function stringMatcher(test: Extract<Test, { kind: "oneOf" | "pattern" }>): StringMatcher {
  const [value = "", ...others] = test.kind === "oneOf" ? test.values : [];
  if (test.kind === "pattern" || others.length > 0) return regex(valuePattern(test));
  return create(StringMatcherSchema, { matchPattern: { case: "exact", value } });
}

const regex = (pattern: string): StringMatcher =>
  create(StringMatcherSchema, { matchPattern: { case: "safeRegex", value: regexMatcher(pattern) } });
