import { confined } from "./confine.ts";
import type { Parsed } from "./problem.ts";
import type { Expression } from "./vars.ts";
import { passesEmpty, type Test } from "./vars-operator.ts";
import { outside, type Variable } from "./vars-variable.ts";

/** One test that must hold or, negated, must not. */
export interface Condition {
  readonly variable: Variable;
  readonly test: Test;
  readonly negated: boolean;
}

/** Each alternative becomes a route of its own, since all matchers of one Envoy route must hold. */
const ALTERNATIVES_MAX = 64;
const CONDITIONS_MAX = 32;

/**
 * An expression as alternatives of which one must hold, each a list of conditions that all must: the disjunctive
 * normal form. True is one alternative without conditions; false has none. It can be much longer than the expression,
 * and is refused beyond a bound.
 */
export function alternatives(expression: Expression): Parsed<readonly (readonly Condition[])[]> {
  const expanded = expand(expression, false);
  if (expanded === undefined) {
    const bounds = `${ALTERNATIVES_MAX} alternatives, or one of more than ${CONDITIONS_MAX} conditions`;
    return refuse("too_complex", `has more than ${bounds}; split the route`);
  }
  for (const { variable, test, negated } of expanded.flat()) {
    if (!negated || variable.kind !== "query" || test.kind !== "pattern") continue;
    // That a parameter is absent or different is seen in the whole path, where its value is one of many.
    const inside = confined(test.pattern, outside.query);
    if (inside.ok) continue;
    const found = inside.problems.map(({ message }) => message).join("; ");
    return refuse("invalid_vars", `negates a pattern on arg_${variable.name}: ${found}`);
  }
  return { ok: true, value: expanded };
}

const refuse = (reason: string, message: string) =>
  ({ ok: false, problems: [{ field: "", reason, message }] }) as const;

/** Undefined beyond the bound. */
function expand(expression: Expression, negated: boolean): (readonly Condition[])[] | undefined {
  switch (expression.kind) {
    case "test":
      return negatedOrNot(expression.variable, expression.test, negated);
    case "not":
      return expand(expression.of, !negated);
    case "all":
    case "any": {
      // De Morgan: a negated "all" is an "any" of negations, and the other way round.
      const product = (expression.kind === "all") !== negated;
      let result: (readonly Condition[])[] = product ? [[]] : [];
      for (const part of expression.of) {
        const next = expand(part, negated);
        if (next === undefined) return undefined;
        if (product && result.length * next.length > ALTERNATIVES_MAX) return undefined;
        result = product ? result.flatMap((left) => next.map((right) => merged(left, right))) : [...result, ...next];
        if (result.length > ALTERNATIVES_MAX) return undefined;
        if (result.some(({ length }) => length > CONDITIONS_MAX)) return undefined;
      }
      return result;
    }
  }
}

/**
 * A header or cookie that is absent fails the test, so it passes the negated one. Where an empty header passes the
 * test, data planes need telling apart what is empty from what is absent.
 */
function negatedOrNot(variable: Variable, test: Test, negated: boolean): (readonly Condition[])[] {
  const condition: Condition = { variable, test, negated };
  if (!negated || variable.kind !== "header" || test.kind === "present" || !passesEmpty(test)) return [[condition]];
  return [[{ variable, test: { kind: "present" }, negated }], [condition]];
}

/** Both lists of conditions, each condition once. */
function merged(left: readonly Condition[], right: readonly Condition[]): readonly Condition[] {
  const keys = new Set(left.map(conditionKey));
  return [...left, ...right.filter((condition) => !keys.has(conditionKey(condition)))];
}

/** Equal for conditions that ask the same. */
function conditionKey({ variable, test, negated }: Condition): string {
  const name = "name" in variable ? variable.name : "";
  const asked = test.kind === "range" ? `${test.from}..${test.to}` : JSON.stringify(test);
  return [negated, variable.kind, JSON.stringify(name), test.kind, asked].join(" ");
}
