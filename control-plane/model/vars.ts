/**
 * `vars` of a route: an expression over the request, read into a tree. Refused is what the data planes couldn't test
 * exactly: Envoy and the native proxy must answer alike, so there is no "nearly".
 */
import type { ListValue, Value } from "@bufbuild/protobuf/wkt";

import { type Parsed, type Problem, quoted } from "./problem.ts";
import { parseTest, type Test } from "./vars-operator.ts";
import { parseVariable, type Variable } from "./vars-variable.ts";

/** An expression. `all` of nothing holds, `any` of nothing doesn't. */
export type Expression =
  | { readonly kind: "all" | "any"; readonly of: readonly Expression[] }
  | { readonly kind: "not"; readonly of: Expression }
  | { readonly kind: "test"; readonly variable: Variable; readonly test: Test };

/** How deep operators may be nested; deeper ones nobody reads. */
const DEPTH_MAX = 16;

/** What the first element of a list may be to combine the others. */
const heads: Readonly<Record<string, (of: readonly Expression[]) => Expression>> = {
  AND: (of) => ({ kind: "all", of }),
  OR: (of) => ({ kind: "any", of }),
  "!AND": (of) => ({ kind: "not", of: { kind: "all", of } }),
  "!OR": (of) => ({ kind: "not", of: { kind: "any", of } }),
};

/** Reads `vars`; not set, or an empty list, is true. The fields of problems are positions below it: "[1][2]". */
export function parseVars(vars: ListValue | undefined): Parsed<Expression> {
  const problems: Problem[] = [];
  const values = vars?.values ?? [];
  const expression = headOf(values) === undefined ? all(values, problems) : combined(values, "", 0, problems);
  return problems.length === 0 ? { ok: true, value: expression } : { ok: false, problems };
}

const nothing: Expression = { kind: "all", of: [] };

function all(values: readonly Value[], problems: Problem[]): Expression {
  const first = values[0]?.kind;
  if (first?.case === "stringValue") {
    problems.push(problem("", `one condition stands in a list of conditions: [[${quoted(first.value)}, ...]]`));
    return nothing;
  }
  return { kind: "all", of: values.map((value, at) => item(value, `[${at}]`, 1, problems)) };
}

function item(value: Value, field: string, depth: number, problems: Problem[]): Expression {
  if (value.kind.case !== "listValue") {
    problems.push(
      problem(field, 'must be a condition such as ["arg_page", "==", "3"], or a list headed by "AND" or "OR"'),
    );
    return nothing;
  }
  const { values } = value.kind.value;
  if (headOf(values) !== undefined) return combined(values, field, depth, problems);
  return condition(values, field, problems);
}

function combined(values: readonly Value[], field: string, depth: number, problems: Problem[]): Expression {
  const head = headOf(values) ?? "AND";
  if (depth > DEPTH_MAX) {
    problems.push(problem(field, `is nested deeper than ${DEPTH_MAX} levels`));
    return nothing;
  }
  if (values.length < 3) problems.push(problem(field, `"${head}" combines two or more conditions`));
  const of = values.slice(1).map((value, at) => item(value, `${field}[${at + 1}]`, depth + 1, problems));
  return heads[head]?.(of) ?? nothing;
}

function condition(values: readonly Value[], field: string, problems: Problem[]): Expression {
  const negated = values.length === 4 && textOf(values[1]) === "!";
  const operatorAt = negated ? 2 : 1;
  if (values.length !== (negated ? 4 : 3)) {
    const right = '[variable, operator, value] or [variable, "!", operator, value]';
    problems.push(problem(field, `has ${values.length} elements; a condition is ${right}`));
    return nothing;
  }
  const variable = parseVariable(textOf(values[0]));
  if (!variable.ok) problems.push(...at(`${field}[0]`, variable.problems));
  // Which operators are possible depends on the variable, so a condition with an unknown one gets no second problem.
  if (!variable.ok) return nothing;
  const test = parseTest(variable.value, textOf(values[operatorAt]), values[operatorAt + 1]);
  if (!test.ok) {
    problems.push(...at(field, test.problems, (below) => (below === "operator" ? operatorAt : operatorAt + 1)));
    return nothing;
  }
  const tested: Expression = { kind: "test", variable: variable.value, test: test.value.test };
  return negated !== test.value.negated ? { kind: "not", of: tested } : tested;
}

/** Problems moved to a field; `place` says which element one that names a part is about. */
function at(field: string, problems: readonly Problem[], place?: (part: string) => number): Problem[] {
  return problems.map((found) => ({ ...found, field: place ? `${field}[${place(found.field)}]` : field }));
}

const problem = (field: string, message: string): Problem => ({ field, reason: "invalid_vars", message });

const textOf = (value: Value | undefined) => (value?.kind.case === "stringValue" ? value.kind.value : undefined);

/** "AND" and its like at the head of a list, in any case. */
function headOf(values: readonly Value[]): string | undefined {
  const head = textOf(values[0])?.toUpperCase();
  return head !== undefined && Object.hasOwn(heads, head) ? head : undefined;
}
