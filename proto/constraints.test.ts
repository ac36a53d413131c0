import { type DescMessage, fromJson, type JsonValue } from "@bufbuild/protobuf";
import { expect, test } from "vitest";

import { ClusterSchema } from "#envoy/config/cluster/v3/cluster_pb.ts";
import { HeaderValueSchema } from "#envoy/config/core/v3/base_pb.ts";
import { ClusterLoadAssignmentSchema } from "#envoy/config/endpoint/v3/endpoint_pb.ts";
import { ListenerSchema } from "#envoy/config/listener/v3/listener_pb.ts";
import { RouteConfigurationSchema } from "#envoy/config/route/v3/route_pb.ts";
import {
  HeaderMatcherSchema,
  RetryPolicySchema,
  RouteActionSchema,
  RouteMatchSchema,
  RouteSchema,
  VirtualHostSchema,
  WeightedCluster_ClusterWeightSchema,
} from "#envoy/config/route/v3/route_components_pb.ts";

import { violations } from "./constraints.ts";
import { registry } from "./registry.ts";

const hcm = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";

const endpoints = (endpoint: JsonValue): JsonValue => ({
  clusterName: "c",
  endpoints: [{ lbEndpoints: [endpoint] }],
});

// One case for each kind of rule; what is expected is the path and protoc-gen-validate's words.
test.each<[title: string, schema: DescMessage, json: JsonValue, expected: string[]]>([
  ["a sound message", HeaderValueSchema, { key: "x-a", value: "b" }, []],
  [
    "min_len of an unset string",
    ClusterLoadAssignmentSchema,
    {},
    ["cluster_name: value length must be at least 1 characters"],
  ],
  ["a header name", HeaderMatcherSchema, { name: "a\nb" }, ["name: value must be a valid HTTP header name"]],
  [
    "a header value",
    HeaderValueSchema,
    { key: "a", value: "b\r\nc: d" },
    ["value: value must be a valid HTTP header value"],
  ],
  ["max_bytes", HeaderValueSchema, { key: "a".repeat(16_385) }, ["key: value length must be at most 16384 bytes"]],
  ["min_items of an unset list", VirtualHostSchema, { name: "v" }, ["domains: value must contain at least 1 item(s)"]],
  [
    "rules of items",
    VirtualHostSchema,
    { name: "v", domains: ["ok", "a\nb"] },
    ["domains[1]: value must be a valid HTTP header value"],
  ],
  [
    "a wrapped number, deep inside",
    ClusterLoadAssignmentSchema,
    endpoints({ loadBalancingWeight: 0, endpoint: { address: { socketAddress: { address: "::1", portValue: 1 } } } }),
    ["endpoints[0].lb_endpoints[0].load_balancing_weight: value must be greater than or equal to 1"],
  ],
  [
    "a number in a oneof",
    ClusterLoadAssignmentSchema,
    endpoints({ endpoint: { address: { socketAddress: { address: "::1", portValue: 70_000 } } } }),
    [
      "endpoints[0].lb_endpoints[0].endpoint.address.socket_address.port_value: value must be less than or equal to 65535",
    ],
  ],
  [
    "a required oneof",
    ClusterLoadAssignmentSchema,
    endpoints({ endpoint: { address: {} } }),
    ["endpoints[0].lb_endpoints[0].endpoint.address.address: value is required"],
  ],
  [
    "a required message and a required oneof",
    RouteSchema,
    {},
    ["match: value is required", "action: value is required"],
  ],
  [
    "a pattern",
    RouteMatchSchema,
    { pathSeparatedPrefix: "/a/" },
    ['path_separated_prefix: value does not match regex pattern "^[^?#]+[^?#/]$"'],
  ],
  [
    "enum defined_only",
    ClusterSchema,
    { name: "c", lbPolicy: 99 },
    ["lb_policy: value must be one of the defined enum values"],
  ],
  [
    "a duration",
    ClusterSchema,
    { name: "c", connectTimeout: "0s" },
    ["connect_timeout: value must be greater than 0ns"],
  ],
  ["an unset duration", ClusterSchema, { name: "c" }, []],
  ["a header name that may be missing", WeightedCluster_ClusterWeightSchema, { name: "c", weight: 1 }, []],
  ["a key that may be any header value", HeaderValueSchema, { key: "a b" }, []],
  [
    "in an unset message nothing is judged; in a set one everything",
    RetryPolicySchema,
    { retryBackOff: {} },
    ["retry_back_off.base_interval: value is required"],
  ],
  [
    "bool const",
    RouteActionSchema,
    { cluster: "c", hashPolicy: [{}] },
    ["hash_policy[0].policy_specifier: value is required"],
  ],
  [
    "inside an Any",
    ListenerSchema,
    {
      filterChains: [{ filters: [{ name: "hcm", typedConfig: { "@type": hcm, rds: { configSource: { ads: {} } } } }] }],
    },
    ["filter_chains[0].filters[0].typed_config.stat_prefix: value length must be at least 1 characters"],
  ],
  [
    "two at once",
    RouteConfigurationSchema,
    { virtualHosts: [{ domains: ["*"] }, { name: "b" }] },
    [
      "virtual_hosts[0].name: value length must be at least 1 characters",
      "virtual_hosts[1].domains: value must contain at least 1 item(s)",
    ],
  ],
])("%s", (_title, schema, json, expected) => {
  const found = violations(schema, fromJson(schema, json, { registry }));
  expect(found.map(({ field, message }) => `${field}: ${message}`)).toEqual(expected);
});

test("an Any whose bytes are not of its type is a violation", () => {
  const listener = fromJson(ListenerSchema, { filterChains: [{ filters: [{ name: "hcm" }] }] });
  const [filter] = listener.filterChains[0]?.filters ?? [];
  if (filter === undefined) throw new Error("no filter");
  filter.configType = {
    case: "typedConfig",
    value: { $typeName: "google.protobuf.Any", typeUrl: hcm, value: Uint8Array.of(0xff) },
  };
  expect(violations(ListenerSchema, listener).map(({ message }) => message)).toEqual([
    `value cannot be read as ${hcm.slice(hcm.indexOf("/") + 1)}`,
  ]);
});

test("the rules of every message that the registry knows can be compiled", () => {
  for (const type of registry) {
    if (type.kind === "message") expect(() => violations(type, fromJson(type, {}))).not.toThrow();
  }
});
