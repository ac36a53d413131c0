/** Envoy's NodeMatcher (type/matcher/v3/node.proto), which the status service picks clients by. What cannot be matched is told by its field. */
import type { JsonObject, JsonValue } from "@bufbuild/protobuf";

import type { Node } from "#envoy/config/core/v3/base_pb.ts";
import type { NodeMatcher } from "#envoy/type/matcher/v3/node_pb.ts";
import type { DoubleMatcher } from "#envoy/type/matcher/v3/number_pb.ts";
import type { StructMatcher } from "#envoy/type/matcher/v3/struct_pb.ts";
import type { ValueMatcher } from "#envoy/type/matcher/v3/value_pb.ts";

import { type Compiled, compileStringMatcher } from "./string-matcher.ts";

/** Matchers in one list, and inside each other. */
const MATCHERS_MAX = 100;
const DEPTH_MAX = 10;

/** A node that any of the matchers fits; without matchers, every node. */
export function compileNodeMatchers(matchers: readonly NodeMatcher[]): Compiled<Node> {
  const compiled = all("node_matchers", matchers, compileNodeMatcher);
  if ("problem" in compiled) return compiled;
  return (node) => compiled.length === 0 || compiled.some((matches) => matches(node));
}

function compileNodeMatcher({ nodeId, nodeMetadatas }: NodeMatcher): Compiled<Node> {
  const id = nodeId === undefined ? () => true : at("node_id", compileStringMatcher(nodeId));
  if ("problem" in id) return id;
  const metadata = all("node_metadatas", nodeMetadatas, compileStructMatcher);
  if ("problem" in metadata) return metadata;
  return (node) => id(node.id) && metadata.every((matches) => matches(node.metadata ?? {}));
}

function compileStructMatcher({ path, value }: StructMatcher): Compiled<JsonObject> {
  if (path.length === 0 || path.some(({ segment }) => segment.case === undefined || segment.value === "")) {
    return { problem: "path: is empty, or has an empty segment" };
  }
  if (value === undefined) return { problem: "value: is missing" };
  const matches = at("value", compileValueMatcher(value, DEPTH_MAX));
  if ("problem" in matches) return matches;
  return (metadata) => {
    let found: JsonValue | undefined = metadata;
    for (const { segment } of path) {
      const isObject: boolean = typeof found === "object" && found !== null && !Array.isArray(found);
      const key = segment.value ?? "";
      found = isObject && Object.hasOwn(found as JsonObject, key) ? (found as JsonObject)[key] : undefined;
    }
    return matches(found);
  };
}

/** What isn't there has no value; only `present_match: false` fits it. */
function compileValueMatcher({ matchPattern }: ValueMatcher, depth: number): Compiled<JsonValue | undefined> {
  if (depth === 0) return { problem: `more than ${DEPTH_MAX} matchers inside each other` };
  switch (matchPattern.case) {
    case "nullMatch":
      return (value) => value === null;
    case "boolMatch":
      return (value) => value === matchPattern.value;
    case "presentMatch":
      return (value) => (value !== undefined && value !== null) === matchPattern.value;
    case "doubleMatch":
      return compileDoubleMatcher(matchPattern.value);
    case "stringMatch": {
      const matches = at("string_match", compileStringMatcher(matchPattern.value));
      return "problem" in matches ? matches : (value) => typeof value === "string" && matches(value);
    }
    case "listMatch": {
      const { matchPattern: inner } = matchPattern.value;
      if (inner.case === undefined) return { problem: "list_match: has no pattern" };
      const matches = at("list_match.one_of", compileValueMatcher(inner.value, depth - 1));
      return "problem" in matches ? matches : (value) => Array.isArray(value) && value.some((each) => matches(each));
    }
    case "orMatch": {
      const { valueMatchers } = matchPattern.value;
      const some = all("or_match.value_matchers", valueMatchers, (each) => compileValueMatcher(each, depth - 1));
      return "problem" in some ? some : (value) => some.some((matches) => matches(value));
    }
    default:
      return { problem: "has no pattern" };
  }
}

function compileDoubleMatcher({ matchPattern }: DoubleMatcher): Compiled<JsonValue | undefined> {
  if (matchPattern.case === "exact") return (value) => value === matchPattern.value;
  if (matchPattern.case === undefined) return { problem: "double_match: has no pattern" };
  const { start, end } = matchPattern.value;
  return (value) => typeof value === "number" && value >= start && value < end;
}

const at = <Value>(field: string, compiled: Compiled<Value>): Compiled<Value> =>
  "problem" in compiled ? { problem: `${field}: ${compiled.problem}` } : compiled;

/** All of them, or the first problem with its place. */
function all<Matcher, Value>(
  field: string,
  matchers: readonly Matcher[],
  compile: (matcher: Matcher) => Compiled<Value>,
): ((value: Value) => boolean)[] | { readonly problem: string } {
  if (matchers.length > MATCHERS_MAX) return { problem: `${field}: more than ${MATCHERS_MAX}` };
  const good: ((value: Value) => boolean)[] = [];
  for (const [index, matcher] of matchers.entries()) {
    const compiled = compile(matcher);
    if ("problem" in compiled) return { problem: `${field}[${index}].${compiled.problem}` };
    good.push(compiled);
  }
  return good;
}
