import { fromJson, type JsonValue } from "@bufbuild/protobuf";
import { expect, test } from "vitest";

import { ChangeType } from "#sluice/admin/v1/common_pb.ts";
import { ServiceSchema } from "#sluice/model/v1/service_pb.ts";

import { diffObjects } from "./diff.ts";
import type { StoredObject } from "./objects.ts";

const service = (json: JsonValue): StoredObject => ({ kind: "service", value: fromJson(ServiceSchema, json) });

const fieldsOf = (before: JsonValue, after: JsonValue) =>
  diffObjects(service(before), service(after)).fields.map(
    (change) => `${change.path}: ${change.before} -> ${change.after}`,
  );

test("elements that have names are compared by name, others by place", () => {
  const before: JsonValue = {
    name: "a",
    hosts: ["a.com", "b.com"],
    upstreams: [
      { name: "x", retries: 1 },
      { name: "default", nodes: [{ host: "10.0.0.1", port: 80 }] },
    ],
  };
  const after: JsonValue = {
    name: "a",
    hosts: ["a.com", "c.com"],
    upstreams: [{ name: "default", nodes: [{ host: "10.0.0.1", port: 81 }] }],
  };
  expect(fieldsOf(before, after)).toEqual([
    'hosts[1]: "b.com" -> "c.com"',
    'upstreams[x]: {"name":"x","retries":1} -> ',
    "upstreams[default].nodes[0].port: 80 -> 81",
  ]);
});

test("an expression is one field", () => {
  const route = (value: string) => ({ routes: [{ name: "r", paths: ["/"], vars: [["http_a", "==", value]] }] });
  expect(fieldsOf(route("1"), route("2"))).toEqual(['routes[r].vars: [["http_a","==","1"]] -> [["http_a","==","2"]]']);
});

test("the default gateway group is no change", () => {
  const change = diffObjects(service({ name: "a" }), service({ name: "a", gatewayGroup: "default" }));
  expect(change).toMatchObject({ type: ChangeType.UPDATED, fields: [], unchangedFields: 2 });
});

test("what comes and goes has no fields", () => {
  expect(diffObjects(undefined, service({ name: "a" }))).toMatchObject({ type: ChangeType.CREATED, fields: [] });
  const gone = diffObjects(service({ name: "a" }), undefined);
  expect(gone).toMatchObject({ type: ChangeType.DELETED, fields: [] });
  expect(gone.before?.kind.case).toBe("service");
  expect(gone.after).toBeUndefined();
});

test("values are in the words of gateway files", () => {
  const upstream = (balance: string, connect: string) => ({
    name: "a",
    upstreams: [{ name: "default", balance, timeouts: { connect } }],
  });
  expect(fieldsOf(upstream("BALANCE_RANDOM", "5s"), upstream("BALANCE_LEAST_REQUEST", "0.5s"))).toEqual([
    'upstreams[default].balance: "random" -> "least_request"',
    'upstreams[default].timeouts.connect: "5s" -> "500ms"',
  ]);
});
