import { create, equals, type MessageInitShape } from "@bufbuild/protobuf";
import type { ValueSchema } from "@bufbuild/protobuf/wkt";
import fc from "fast-check";
import { expect, test } from "vitest";
import { toPlain } from "#proto/plain.ts";
import { GatewaySchema } from "#sluice/model/v1/gateway_pb.ts";
import { readGateway } from "./gateway-file.ts";
import { toYaml } from "./yaml/write.ts";

// Words that YAML takes for something else when they are not quoted.
const text = fc.oneof(
  fc.constantFrom(
    "yes",
    "null",
    "1.10",
    "0x10",
    "~",
    "- a",
    "a: b",
    "#",
    "*",
    "&a",
    "<<",
    " a ",
    "a\nb",
    "'",
    '"',
    "%",
    "1e3",
  ),
  fc.string({ unit: "grapheme", maxLength: 12 }),
);
const filled = text.filter((value) => value !== "");
const duration = fc.record({ seconds: fc.bigInt(0n, 86_400n), nanos: fc.integer({ min: 0, max: 999_999_999 }) });
const json: fc.Arbitrary<fc.JsonValue> = fc.jsonValue({ maxDepth: 2 });
const labels = fc.dictionary(filled, text, { maxKeys: 3 });

const upstream = fc.record(
  {
    name: text,
    balance: fc.integer({ min: 0, max: 4 }),
    hashOn: fc.record({
      key: fc.oneof(
        text.map((value) => ({ case: "header" as const, value })),
        text.map((value) => ({ case: "cookie" as const, value })),
        fc.boolean().map((value) => ({ case: "source" as const, value })),
      ),
    }),
    nodes: fc.array(
      fc.record(
        { host: text, port: fc.nat(65_535), weight: fc.nat(10), priority: fc.integer({ min: -5, max: 5 }) },
        { requiredKeys: [] },
      ),
      { maxLength: 3 },
    ),
    timeouts: fc.record({ connect: duration, perTry: duration }, { requiredKeys: [] }),
    retries: fc.nat(0xffff_ffff),
    retryOn: fc.array(fc.integer({ min: 1, max: 7 }), { maxLength: 3 }),
    tls: fc.record(
      { sni: text, verify: fc.boolean(), subjectAltNames: fc.array(text, { maxLength: 2 }) },
      { requiredKeys: [] },
    ),
    passHost: fc.integer({ min: 0, max: 3 }),
  },
  { requiredKeys: [] },
);

const route = fc.record(
  {
    name: text,
    methods: fc.array(text, { maxLength: 3 }),
    paths: fc.array(text, { maxLength: 3 }),
    vars: fc.array(json, { maxLength: 3 }).map((values) => ({ values: values.map(toValue) })),
    priority: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
    websocket: fc.boolean(),
    enabled: fc.boolean(),
  },
  { requiredKeys: [] },
);

const gateways = fc.record({
  gatewayGroups: fc.array(
    fc.record({ name: text, labels, accessLog: fc.record({ disabled: fc.boolean(), path: text }) }),
    {
      maxLength: 2,
    },
  ),
  services: fc.array(
    fc.record(
      {
        name: text,
        labels,
        hosts: fc.array(text, { maxLength: 3 }),
        stripPathPrefix: fc.boolean(),
        upstreams: fc.array(upstream, { maxLength: 2 }),
        routes: fc.array(route, { maxLength: 2 }),
      },
      { requiredKeys: [] },
    ),
    { maxLength: 2 },
  ),
});

/** google.protobuf.Value of JSON. */
function toValue(value: fc.JsonValue): MessageInitShape<typeof ValueSchema> {
  if (value === null) return { kind: { case: "nullValue", value: 0 } };
  // -0 is a number that YAML does not tell from 0.
  if (typeof value === "number") return { kind: { case: "numberValue", value: value + 0 } };
  if (typeof value === "string") return { kind: { case: "stringValue", value } };
  if (typeof value === "boolean") return { kind: { case: "boolValue", value } };
  if (Array.isArray(value)) return { kind: { case: "listValue", value: { values: value.map(toValue) } } };
  const fields = Object.fromEntries(Object.entries(value).map(([key, item]) => [key, toValue(item as fc.JsonValue)]));
  return { kind: { case: "structValue", value: { fields } } };
}

test.each(["yaml", "json"])("a gateway written as %s is read back as the same gateway", (format) => {
  fc.assert(
    fc.property(gateways, (init) => {
      const gateway = create(GatewaySchema, init as MessageInitShape<typeof GatewaySchema>);
      const plain = toPlain(GatewaySchema, gateway);
      const written = format === "yaml" ? toYaml(plain) : JSON.stringify(plain);
      const read = readGateway([
        { path: "g", text: written === "{}\n" || written === "{}" ? "services: []" : written },
      ]);
      expect(read.ok ? [] : read.problems, written).toEqual([]);
      expect(read.ok && equals(GatewaySchema, read.gateway, gateway), written).toBe(true);
    }),
    { numRuns: 150 },
  );
});
