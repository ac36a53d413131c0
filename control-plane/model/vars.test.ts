import { fromJson, type JsonValue } from "@bufbuild/protobuf";
import { ListValueSchema } from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";

import { alternatives } from "./alternatives.ts";
import { parseVars } from "./vars.ts";

const parse = (vars: JsonValue[]) => parseVars(fromJson(ListValueSchema, vars));

const problemsOf = (vars: JsonValue[]) => {
  const parsed = parse(vars);
  const expanded = parsed.ok ? alternatives(parsed.value) : parsed;
  return expanded.ok ? [] : expanded.problems.map(({ field, message }) => `${field} ${message}`);
};

/** Alternatives as text: "x-a=1 !x-b=2 | arg page=3". */
function expanded(vars: JsonValue[]): string {
  const parsed = parse(vars);
  const result = parsed.ok ? alternatives(parsed.value) : parsed;
  if (!result.ok) throw new Error(result.problems.map(({ message }) => message).join());
  return result.value
    .map((conditions) =>
      conditions
        .map(({ variable, test: { kind, ...asked }, negated }) => {
          const name = "name" in variable ? variable.name : variable.kind;
          const text = "values" in asked ? asked.values.join() : "pattern" in asked ? asked.pattern : kind;
          return `${negated ? "!" : ""}${name}=${text}`;
        })
        .join(" "),
    )
    .join(" | ");
}

test("no condition is true", () => {
  expect(parseVars(undefined)).toEqual({ ok: true, value: { kind: "all", of: [] } });
  expect(expanded([])).toBe("");
});

test("a list of conditions must all hold", () => {
  expect(
    expanded([
      ["http_X_Beta", "==", "1"],
      ["arg_page", "in", [3, "4"]],
    ]),
  ).toBe("x-beta=1 page=3,4");
});

test("OR, AND and their negations nest", () => {
  const [a, b, c]: JsonValue[] = [
    ["http_a", "==", "1"],
    ["http_b", "==", "2"],
    ["http_c", "==", "3"],
  ];
  expect(expanded(["OR", a ?? "", b ?? ""])).toBe("a=1 | b=2");
  expect(expanded(["and", a ?? "", ["or", b ?? "", c ?? ""]])).toBe("a=1 b=2 | a=1 c=3");
  expect(expanded(["!AND", a ?? "", b ?? ""])).toBe("!a=1 | !b=2");
  expect(expanded(["!OR", a ?? "", ["!OR", b ?? "", c ?? ""]])).toBe("!a=1 b=2 | !a=1 c=3");
});

test("~= and ! turn a condition round, both together turn it back", () => {
  expect(expanded([["http_a", "~=", "1"]])).toBe("!a=1");
  expect(expanded([["http_a", "!", "==", "1"]])).toBe("!a=1");
  expect(expanded([["http_a", "!", "~=", "1"]])).toBe("a=1");
});

test("not equal to nothing holds for what is absent and for what is not empty", () => {
  expect(expanded([["http_a", "~=", ""]])).toBe("!a=present | !a=");
});

test("equal conditions are asked once", () => {
  expect(
    expanded([
      ["http_a", "==", "1"],
      ["http_a", "==", "1"],
    ]),
  ).toBe("a=1");
});

test.each<[JsonValue[], string]>([
  [["http_a", "==", "1"], " one condition stands in a list"],
  [[["http_a", "==", "1"], "x"], "[1] must be a condition"],
  [[["http_a", "1"]], "[0] has 2 elements"],
  [[["OR", ["http_a", "==", "1"]]], '[0] "OR" combines two or more'],
  [["OR", ["http_a", "==", "1"], ["remote_addr", "==", "1"]], '[2][0] "remote_addr" is not supported'],
  [[["post_arg_x", "==", "1"]], "can't look at the body"],
  [[["foo", "==", "1"]], '[0][0] "foo" is not a variable'],
  [[["http_a b", "==", "1"]], "is not the name of a header"],
  [[["arg_a&b", "==", "1"]], "as it stands in the URL"],
  [[["cookie_a;", "==", "1"]], "is not the name of a cookie"],
  [[["http_a", "=", "1"]], '[0][1] "=" is not an operator'],
  [[["http_a", "!", "=", "1"]], '[0][2] "=" is not an operator'],
  [[["http_a", "has", "1"]], '[0][1] "has" needs'],
  [[["http_a", "ipmatch", "1"]], '[0][1] "ipmatch" is not supported'],
  [[["http_a", "==", true]], "[0][2] must be text or a whole number"],
  [[["http_a", "==", 1.5]], "[0][2] must be text or a whole number"],
  [[["http_a", "in", []]], '"in" needs a list'],
  [[["http_a", "in", ["1", null]]], "must list texts"],
  [[["http_a", "==", "a\nb"]], "holds a control character"],
  [[["arg_a", "==", "a&b"]], "write %26"],
  [[["arg_a", "==", "a b"]], "percent-encoded"],
  [[["cookie_a", "==", "a;b"]], "a cookie's value"],
  [[["uri", "==", "/a?b"]], "without the query"],
  [[["uri", "==", "a"]], 'must start with "/"'],
  [[["host", "==", "a:80"]], "without a port"],
  [[["http_a", "~~", "("]], "is not a regular expression"],
  [[["http_a", "~~", "(?=a)"]], "looks ahead or behind"],
  [[["http_a", "~~", "(a)\\1"]], "refers back"],
  [[["http_a", "~~", 1]], "must be a regular expression"],
  [[["arg_a", ">", 1]], '[0][1] ">" compares numbers'],
  [[["http_a", ">", "x"]], "must be a whole number"],
  [[["http_a", ">", 1e19]], "must be a whole number"],
  [[["arg_a", "!", "~~", "x&y"]], "negates a pattern on arg_a"],
  [[["cookie_a", "~~", "(^x)"]], '[0][2] "^" may stand only at the two ends'],
  [[["uri", "~~", "^/a[?]"]], '[0][2] "[?]" takes "?"'],
  [[["host", "~~", "x"]], "[0][1] a pattern on host is not supported"],
])("%j is refused:%s", (vars, message) => {
  const problems = problemsOf(vars);
  expect(problems).toHaveLength(1);
  expect(problems[0]).toContain(message);
});

test("all problems are found at once", () => {
  expect(
    problemsOf([
      ["foo", "==", "1"],
      ["http_a", "=", "1"],
      ["http_a", "~~", "("],
    ]),
  ).toHaveLength(3);
});

test("an expression that becomes too many routes is refused", () => {
  const or = (at: number): JsonValue => ["OR", [`http_a${at}`, "==", "1"], [`http_b${at}`, "==", "1"]];
  expect(problemsOf([or(0), or(1), or(2), or(3), or(4), or(5)])).toEqual([]);
  expect(problemsOf(Array.from({ length: 30 }, (_, at) => or(at)))[0]).toContain("split the route");
  const many = Array.from({ length: 33 }, (_, at): JsonValue => [`http_a${at}`, "==", "1"]);
  expect(problemsOf(many)[0]).toContain("split the route");
});

test("deep nesting is refused", () => {
  let vars: JsonValue[] = ["http_a", "==", "1"];
  for (let depth = 0; depth < 30; depth++) vars = ["AND", vars, ["http_b", "==", "1"]];
  expect(problemsOf(vars)[0]).toContain("nested deeper");
});
