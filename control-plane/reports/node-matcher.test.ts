import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { expect, test } from "vitest";

import { NodeSchema } from "#envoy/config/core/v3/base_pb.ts";
import { NodeMatcherSchema } from "#envoy/type/matcher/v3/node_pb.ts";
import type { ValueMatcherSchema } from "#envoy/type/matcher/v3/value_pb.ts";

import { compileNodeMatchers } from "./node-matcher.ts";

type Matcher = Extract<MessageInitShape<typeof NodeMatcherSchema>, { $typeName?: undefined }>;
type Value = MessageInitShape<typeof ValueMatcherSchema>;

const node = create(NodeSchema, {
  id: "Edge-1",
  metadata: { zone: "a", weight: 3, canary: true, nothing: null, tags: ["x", "y"], deep: { er: "value" } },
});

function verdict(...matchers: Matcher[]): boolean | string {
  const compiled = compileNodeMatchers(matchers.map((each) => create(NodeMatcherSchema, each)));
  return "problem" in compiled ? compiled.problem : compiled(node);
}

const id = (matchPattern: NonNullable<Matcher["nodeId"]>["matchPattern"], ignoreCase = false): Matcher => ({
  nodeId: { matchPattern, ignoreCase },
});

const metadata = (path: string[], value: Value["matchPattern"] | undefined): Matcher => ({
  nodeMetadatas: [
    {
      path: path.map((key) => ({ segment: { case: "key", value: key } })),
      ...(value !== undefined && { value: { matchPattern: value } }),
    },
  ],
});

const text = (value: string) =>
  ({ case: "stringMatch", value: { matchPattern: { case: "exact", value } } }) satisfies Value["matchPattern"];

test.each<[string, boolean | string, Matcher[]]>([
  ["no matcher fits every node", true, []],
  ["exact", true, [id({ case: "exact", value: "Edge-1" })]],
  ["another case", false, [id({ case: "exact", value: "edge-1" })]],
  ["ignoring case", true, [id({ case: "exact", value: "edge-1" }, true)]],
  ["prefix", true, [id({ case: "prefix", value: "Edge" })]],
  ["suffix", false, [id({ case: "suffix", value: "-2" })]],
  ["contains", true, [id({ case: "contains", value: "ge-" })]],
  ["regex, of the whole id", true, [id({ case: "safeRegex", value: { regex: "Edge-\\d" } })]],
  ["regex, of a part", false, [id({ case: "safeRegex", value: { regex: "Edge" } })]],
  ["any of several", true, [id({ case: "exact", value: "no" }), id({ case: "prefix", value: "E" })]],
  ["a string in the metadata", true, [metadata(["zone"], text("a"))]],
  ["deeper", true, [metadata(["deep", "er"], text("value"))]],
  ["deeper than there is", false, [metadata(["zone", "er"], text("value"))]],
  [
    "a number",
    true,
    [metadata(["weight"], { case: "doubleMatch", value: { matchPattern: { case: "exact", value: 3 } } })],
  ],
  [
    "a range, whose end is out of it",
    false,
    [
      metadata(["weight"], {
        case: "doubleMatch",
        value: { matchPattern: { case: "range", value: { start: 1, end: 3 } } },
      }),
    ],
  ],
  ["a flag", true, [metadata(["canary"], { case: "boolMatch", value: true })]],
  ["null", true, [metadata(["nothing"], { case: "nullMatch", value: {} })]],
  ["not there", true, [metadata(["no"], { case: "presentMatch", value: false })]],
  ["inherited names are not there", false, [metadata(["constructor"], { case: "presentMatch", value: true })]],
  [
    "one of a list",
    true,
    [
      metadata(["tags"], {
        case: "listMatch",
        value: { matchPattern: { case: "oneOf", value: { matchPattern: text("y") } } },
      }),
    ],
  ],
  [
    "either",
    true,
    [
      metadata(["zone"], {
        case: "orMatch",
        value: { valueMatchers: [{ matchPattern: text("b") }, { matchPattern: text("a") }] },
      }),
    ],
  ],
  ["id and metadata", false, [{ ...id({ case: "prefix", value: "E" }), ...metadata(["zone"], text("b")) }]],
])("L2 %s", (_, expected, matchers) => {
  expect(verdict(...matchers)).toBe(expected);
});

test.each<[string, Matcher]>([
  ["node_matchers[0].node_id: has no pattern", { nodeId: {} }],
  ["node_matchers[0].node_id: custom is not supported", id({ case: "custom", value: { name: "x" } })],
  [
    "node_matchers[0].node_id: the pattern is no regular expression (RE2)",
    id({ case: "safeRegex", value: { regex: "(" } }),
  ],
  ["node_matchers[0].node_metadatas[0].path: is empty, or has an empty segment", metadata([], text("a"))],
  ["node_matchers[0].node_metadatas[0].value: is missing", metadata(["a"], undefined)],
  ["node_matchers[0].node_metadatas[0].value: has no pattern", metadata(["a"], { case: undefined })],
])("L2 what cannot be matched is told by its field: %s", (problem, matcher) => {
  expect(verdict(matcher)).toBe(problem);
});

test("L2 lists of matchers are bounded", () => {
  expect(verdict(...Array.from({ length: 101 }, () => ({})))).toBe("node_matchers: more than 100");
});
