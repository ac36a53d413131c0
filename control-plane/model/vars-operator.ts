import type { Value } from "@bufbuild/protobuf/wkt";

import { confined } from "./confine.ts";
import { type Parsed, quoted } from "./problem.ts";
import { matchesSomewhere, patternProblem } from "./regex.ts";
import { outside, type Variable } from "./vars-variable.ts";

/** What a condition asks of its variable; a variable that a request doesn't have fails every test. */
export type Test =
  | { readonly kind: "present" }
  | { readonly kind: "oneOf"; readonly values: readonly string[] }
  /** The pattern matches somewhere in the value. */
  | { readonly kind: "pattern"; readonly pattern: string; readonly ignoreCase: boolean }
  /** The value is a whole number, from `from` to before `to`. */
  | { readonly kind: "range"; readonly from: bigint; readonly to: bigint };

/** A test and whether it is turned round: `~=` is an `==` that must not hold. */
export interface SignedTest {
  readonly test: Test;
  readonly negated: boolean;
}

/** Whether the empty value passes a test. */
export function passesEmpty(test: Test): boolean {
  switch (test.kind) {
    case "present":
      return true;
    case "oneOf":
      return test.values.includes("");
    case "pattern":
      return matchesSomewhere(test.pattern, "");
    case "range":
      return false;
  }
}

const INT64_MAX = 2n ** 63n - 1n;
const INT64_MIN = -(2n ** 63n);

/** How many values `in` may list. */
const VALUES_MAX = 256;

const operators = "==, ~=, >, >=, <, <=, ~~, ~* and in";

/**
 * Reads operator and value of a condition on `variable`. The field of a problem says which of the two it is about:
 * "operator" or "value".
 */
export function parseTest(
  variable: Variable,
  operator: string | undefined,
  value: Value | undefined,
): Parsed<SignedTest> {
  switch (operator) {
    case "==":
    case "~=": {
      const text = scalar(value);
      if (text === undefined) return wrong("value", "must be text or a whole number");
      return values(variable, [text], operator === "~=");
    }
    case "in": {
      const list = value?.kind.case === "listValue" ? value.kind.value.values.map(scalar) : [];
      if (list.length === 0) return wrong("value", '"in" needs a list of texts');
      if (list.length > VALUES_MAX)
        return wrong("value", `lists ${list.length} values; at most ${VALUES_MAX} are allowed`);
      const texts = list.filter((text) => text !== undefined);
      if (texts.length < list.length) return wrong("value", "must list texts or whole numbers only");
      return values(variable, texts, false);
    }
    case "~~":
    case "~*":
      return pattern(variable, value, operator === "~*");
    case ">":
    case ">=":
    case "<":
    case "<=":
      return range(variable, operator, value);
    case "has":
      return wrong(
        "operator",
        '"has" needs a variable that is a list, and no variable of a request is one; use "~~" or "in"',
      );
    case "ipmatch":
      return wrong("operator", '"ipmatch" is not supported: data planes can\'t test a header for an address range');
    case "!":
      return wrong("operator", '"!" stands before an operator: [variable, "!", operator, value]');
    default:
      return wrong(
        "operator",
        `${operator === undefined ? "this" : quoted(operator)} is not an operator; there are ${operators}`,
      );
  }
}

function values(variable: Variable, texts: readonly string[], negated: boolean): Parsed<SignedTest> {
  for (const text of texts) {
    const message = valueProblem(variable, text);
    if (message !== undefined) return wrong("value", message);
  }
  const unique = [...new Set(variable.kind === "host" ? texts.map((text) => text.toLowerCase()) : texts)];
  return { ok: true, value: { test: { kind: "oneOf", values: unique }, negated } };
}

/** Values that a variable never has point to a mistake, and some would break out of the pattern that looks for them. */
function valueProblem({ kind }: Variable, text: string): string | undefined {
  if (text.length > 1024) return "is longer than 1024 characters";
  // oxlint-disable-next-line no-control-regex
  if (/[\x00-\x1f\x7f]/.test(text)) return `${quoted(text)} holds a control character, which requests don't`;
  if (kind === "query" && !/^[\x21-\x7e]*$/.test(text))
    return `${quoted(text)}: write it as it stands in the URL, percent-encoded`;
  if (kind === "query" && /[&#]/.test(text))
    return `${quoted(text)}: a parameter's value ends before "&" and "#"; write %26 or %23`;
  if (kind === "cookie" && /[;,\s]/.test(text)) return `${quoted(text)}: a cookie's value holds no space, "," or ";"`;
  if (kind === "uri" && /[?#]/.test(text))
    return `${quoted(text)}: uri is the path without the query; use arg_NAME for that`;
  if (kind === "uri" && !text.startsWith("/")) return `${quoted(text)} must start with "/"`;
  if (kind === "host" && /[:/]/.test(text.replace(/^\[.*\]$/, "")))
    return `${quoted(text)}: host is the name alone, without a port`;
  return undefined;
}

function pattern(variable: Variable, value: Value | undefined, ignoreCase: boolean): Parsed<SignedTest> {
  if (value?.kind.case !== "stringValue") return wrong("value", "must be a regular expression (RE2)");
  const message = patternProblem(value.kind.value);
  if (message !== undefined) return wrong("value", message);
  if (variable.kind === "host") {
    return wrong("operator", "a pattern on host is not supported; use ==, ~= or in, or the hosts of the service");
  }
  if (variable.kind === "uri" || variable.kind === "cookie") {
    const inside = confined(value.kind.value, outside[variable.kind]);
    if (!inside.ok) return wrong("value", inside.problems.map(({ message: found }) => found).join("; "));
  }
  return { ok: true, value: { test: { kind: "pattern", pattern: value.kind.value, ignoreCase }, negated: false } };
}

function range(variable: Variable, operator: ">" | ">=" | "<" | "<=", value: Value | undefined): Parsed<SignedTest> {
  if (variable.kind !== "header" || variable.name === ":authority") {
    return wrong("operator", `"${operator}" compares numbers and works on headers (http_NAME) only; use "in" or "~~"`);
  }
  const text = scalar(value);
  if (text === undefined || !/^-?\d{1,18}$/.test(text)) {
    return wrong("value", "must be a whole number of at most 18 digits");
  }
  const bound = BigInt(text);
  const from = operator === ">" ? bound + 1n : operator === ">=" ? bound : INT64_MIN;
  const to = operator === "<" ? bound : operator === "<=" ? bound + 1n : INT64_MAX;
  return { ok: true, value: { test: { kind: "range", from, to }, negated: false } };
}

/** Text, or a whole number as its digits; values are compared as text. */
function scalar(value: Value | undefined): string | undefined {
  if (value?.kind.case === "stringValue") return value.kind.value;
  if (value?.kind.case === "numberValue" && Number.isSafeInteger(value.kind.value)) return String(value.kind.value);
  return undefined;
}

const wrong = (part: "operator" | "value", message: string): Parsed<SignedTest> => ({
  ok: false,
  problems: [{ field: part, reason: "invalid_vars", message }],
});
