import { clone, create, toBinary } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";

import { type Cluster, ClusterSchema } from "#envoy/config/cluster/v3/cluster_pb.ts";
import { MetadataSchema } from "#envoy/config/core/v3/base_pb.ts";
import { type Listener, ListenerSchema } from "#envoy/config/listener/v3/listener_pb.ts";
import {
  type HttpConnectionManager,
  HttpConnectionManagerSchema,
} from "#envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.ts";
import { unpack } from "#proto/registry.ts";
import { resourceType } from "#proto/resource-types.ts";

import type { Problem } from "../compile.ts";
import { decodeResource, ERROR_DETAIL_BYTES_MAX, errorDetail } from "./decode.ts";
import { type FieldTable, mergeFieldTables, unsupportedFields } from "./fields.ts";
import { cluster, listener } from "../../test/support/envoy-resources.ts";

const fields: FieldTable = {
  "envoy.config.cluster.v3.Cluster": {
    name: "used",
    type: "used",
    eds_cluster_config: "used",
    connect_timeout: "used",
    metadata: "ignored",
  },
  "envoy.config.cluster.v3.Cluster.EdsClusterConfig": { eds_config: "ignored" },
  "envoy.config.listener.v3.Listener": { name: "used", address: "ignored", filter_chains: "used" },
  "envoy.config.listener.v3.FilterChain": { filters: "used" },
  "envoy.config.listener.v3.Filter": { name: "used", typed_config: "used" },
  "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager": {
    stat_prefix: "ignored",
    rds: "ignored",
    http_filters: "used",
  },
  "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter": {
    name: "used",
    typed_config: "used",
    is_optional: "used",
  },
  "envoy.extensions.filters.http.router.v3.Router": {},
};

function decode(message: Cluster, name = message.name, validate: () => Problem[] = () => []): string[] {
  const bytes = toBinary(ClusterSchema, message);
  const decoded = decodeResource(resourceType("CDS"), name, bytes, { fields, validate });
  return decoded.ok ? [] : decoded.problems.map(({ field, message: text }) => `${field}: ${text}`);
}

const good = cluster("a") as Cluster;

test("a good resource is taken", () => {
  expect(decode(good)).toEqual([]);
});

test("bytes that are no message are refused", () => {
  const decoded = decodeResource(resourceType("CDS"), "a", Uint8Array.of(0xff, 0xff), { fields, validate: () => [] });
  expect(decoded).toMatchObject({ ok: false, problems: [{ message: expect.stringContaining("cannot be read as") }] });
});

test("D13 the name inside must be the name outside", () => {
  expect(decode(good, "b")).toEqual(['name: it is "a", but the resource was sent as "b"']);
});

test("all reasons are told at once", () => {
  const bad = clone(ClusterSchema, good);
  bad.connectTimeout = durationFromMs(0);
  bad.altStatName = "x";
  bad.maxRequestsPerConnection = 1;
  expect(decode(bad)).toEqual([
    "connect_timeout: value must be greater than 0ns",
    "alt_stat_name: this field is not supported",
    "max_requests_per_connection: this field is not supported",
  ]);
});

test("what the compiler refuses is refused, but only if the message is sound", () => {
  const refuse = () => [{ field: "type", message: "no" }];
  expect(decode(good, "a", refuse)).toEqual(["type: no"]);
  expect(decode(good, "b", refuse)).toHaveLength(1);
});

test("an ignored field is taken with all that is in it", () => {
  const described = clone(ClusterSchema, good);
  described.metadata = create(MetadataSchema, { filterMetadata: { a: { b: 1 } } });
  expect(decode(described)).toEqual([]);
});

test("a field that not even our copy of Envoy's API knows is refused by its number", () => {
  const bytes = Buffer.concat([toBinary(ClusterSchema, good), Uint8Array.of(0xf8, 0x7f, 1)]); // Field 2047, a varint.
  const decoded = decodeResource(resourceType("CDS"), "a", bytes, { fields, validate: () => [] });
  expect(decoded).toMatchObject({ ok: false, problems: [{ message: expect.stringContaining("field number 2047") }] });
});

function listenerWith(change: (manager: HttpConnectionManager) => void): string[] {
  const message = listener("l", 80, "r") as Listener;
  const config = message.filterChains[0]?.filters[0]?.configType;
  if (config?.case !== "typedConfig") throw new Error("the listener has a filter");
  const unpacked = unpack(config.value);
  if (unpacked.kind !== "message") throw new Error("the filter is a known one");
  const manager = unpacked.message as HttpConnectionManager;
  change(manager);
  config.value.value = toBinary(HttpConnectionManagerSchema, manager);
  return unsupportedFields(ListenerSchema, message, fields, 100).map(({ field, message: text }) => `${field}: ${text}`);
}

test("fields inside an Any are looked at, too", () => {
  expect(listenerWith(() => {})).toEqual([]);
  expect(listenerWith((manager) => (manager.proxy100Continue = true))).toEqual([
    "filter_chains[0].filters[0].typed_config.proxy_100_continue: this field is not supported",
  ]);
});

test.each([false, true])("an unknown HTTP filter is refused unless it is optional: %s", (isOptional) => {
  const found = listenerWith((manager) => {
    const [router] = manager.httpFilters;
    if (router === undefined) throw new Error("the chain has a router");
    manager.httpFilters.unshift({
      ...router,
      name: "x",
      isOptional,
      configType: {
        case: "typedConfig",
        value: {
          $typeName: "google.protobuf.Any",
          typeUrl: "type.googleapis.com/acme.Filter",
          value: new Uint8Array(),
        },
      },
    });
  });
  const place = "filter_chains[0].filters[0].typed_config.http_filters[0].typed_config";
  expect(found).toEqual(isOptional ? [] : [`${place}: the extension acme.Filter is not supported`]);
});

test("of two tables, used wins over ignored", () => {
  expect(mergeFieldTables({ a: { x: "ignored", y: "used" } }, { a: { x: "used", y: "ignored" }, b: {} })).toEqual({
    a: { x: "used", y: "used" },
    b: {},
  });
});

test("a NACK names every resource, and is cut at 4 KB between characters", () => {
  const problems = [{ field: "domains", message: "ä".repeat(10_000) }];
  const refusals = Array.from({ length: 20 }, (_, at) => ({ name: `resource-${at}`, problems }));
  const text = errorDetail(resourceType("RDS"), refusals);
  expect(Buffer.byteLength(text)).toBeLessThanOrEqual(ERROR_DETAIL_BYTES_MAX);
  expect(text).not.toContain("\ufffd");
  for (const { name } of refusals) expect(text).toContain(`${name}: domains: `);
});

test("a short NACK is told whole", () => {
  const refusals = [
    {
      name: "r",
      problems: [
        { field: "a", message: "b" },
        { field: "", message: "c" },
      ],
    },
  ];
  expect(errorDetail(resourceType("RDS"), refusals)).toBe("RDS: 1 resource refused: r: a: b; c");
});
