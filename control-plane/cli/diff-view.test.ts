import { stripVTControlCharacters, styleText } from "node:util";

import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { expect, test } from "vitest";

import { ChangeSchema, ChangeType } from "#sluice/admin/v1/common_pb.ts";

import { diffView } from "./diff-view.ts";
import { readGateway } from "./gateway-file.ts";
import type { Paint } from "./terminal.ts";

const plain: Paint = (_, text) => text;
const colored: Paint = (style, text) => styleText(style, text, { validateStream: false });

const object = (name: string) => ({
  kind: {
    case: "service" as const,
    value: {
      name,
      gatewayGroup: "prod",
      routes: [{ name: "refunds", methods: ["GET", "POST"], paths: ["/v1/refunds/*"] }],
    },
  },
});

const inits: MessageInitShape<typeof ChangeSchema>[] = [
  {
    type: ChangeType.UPDATED,
    before: object("payments"),
    after: object("payments"),
    fields: [
      { path: "upstreams[default].nodes[1].weight", before: "100", after: "20" },
      { path: "hosts[0]", after: '"pay.example.com"' },
      { path: "labels.team", before: '"a b"' },
      { path: "routes[x].vars", before: '[["http_a","==","1"]]', after: '{"count":100,"window":"60s"}' },
    ],
    unchangedFields: 14,
  },
  { type: ChangeType.CREATED, after: object("refunds") },
  { type: ChangeType.DELETED, before: { kind: { case: "gatewayGroup", value: { name: "stage" } } } },
];
const changes = inits.map((init) => create(ChangeSchema, init));

test("only what differs is shown, and the rest is counted", () => {
  const read = readGateway([{ path: "gateway.yaml", text: "services:\n  - name: payments\n    gatewayGroup: prod\n" }]);
  const source = read.ok ? read.source : undefined;
  expect(`\n${diffView({ changes, unchangedObjects: 1, source, verb: "Plan" }, plain)}\n`).toBe(`
  ~ service payments (prod)                                         gateway.yaml:2
      ~ upstreams[default].nodes[1].weight  100 -> 20
      + hosts[0]                            pay.example.com
      - labels.team                         "a b"
      ~ routes[x].vars                      [[http_a, "==", "1"]] -> {count: 100, window: "60s"}
        (14 unchanged fields hidden)
  + service refunds (prod)
      + route refunds  GET,POST /v1/refunds/*
  - gateway-group stage
Plan: 1 to add, 1 to change, 1 to delete. (1 unchanged object hidden)
`);
});

test("colours add nothing that the text does not say", () => {
  const input = { changes, unchangedObjects: 0, verb: "Applied" } as const;
  const text = diffView(input, colored);
  expect(text).toContain("\u001b[31m100\u001b[39m -> \u001b[32m20\u001b[39m");
  expect(stripVTControlCharacters(text)).toBe(diffView(input, plain));
});

test("no change is one line", () => {
  expect(diffView({ changes: [], unchangedObjects: 2, verb: "Plan" }, plain)).toBe(
    "No changes. (2 unchanged objects hidden)",
  );
});

test("names and values can't drive the terminal, nor fill it", () => {
  const evil = create(ChangeSchema, {
    type: ChangeType.UPDATED,
    after: object("\u001b[2Jx"),
    fields: [{ path: "description", before: '"\\u001b]0;x\\u0007"', after: JSON.stringify("y".repeat(500)) }],
  });
  const text = diffView({ changes: [evil], unchangedObjects: 0, verb: "Plan" }, plain);
  expect(text.replaceAll("\n", "")).not.toMatch(/\p{Cc}/u);
  expect(Math.max(...text.split("\n").map((line) => line.length))).toBeLessThan(250);
});
