/** A cluster in a worker: health, localities, retries elsewhere, and DNS. */
import { create } from "@bufbuild/protobuf";
import { anyPack } from "@bufbuild/protobuf/wkt";
import { afterEach, describe, expect, test } from "vitest";

import { Cluster_DiscoveryType, Cluster_LbPolicy, ClusterSchema } from "#envoy/config/cluster/v3/cluster_pb.ts";
import { HealthStatus } from "#envoy/config/core/v3/health_check_pb.ts";
import type { LbEndpointSchema, LocalityLbEndpointsSchema } from "#envoy/config/endpoint/v3/endpoint_components_pb.ts";
import { UpstreamTlsContextSchema } from "#envoy/extensions/transport_sockets/tls/v3/tls_pb.ts";

import type { Init } from "../../test/support/message-init.ts";
import { compileCluster } from "./compile.ts";
import { LiveClusters } from "./live-clusters.ts";

type Locality = Init<typeof LocalityLbEndpointsSchema>;

const endpoint = (
  port: number,
  more: Init<typeof LbEndpointSchema> = {},
  address = "10.0.0.1",
): Init<typeof LbEndpointSchema> => ({
  hostIdentifier: {
    case: "endpoint",
    value: {
      address: {
        address: { case: "socketAddress", value: { address, portSpecifier: { case: "portValue", value: port } } },
      },
    },
  },
  ...more,
});

const running: LiveClusters[] = [];
afterEach(() => {
  for (const clusters of running.splice(0)) clusters.close();
});

function start(endpoints: Locality[], more: Init<typeof ClusterSchema> = {}) {
  const compiled = compileCluster(
    create(ClusterSchema, {
      name: "c",
      clusterDiscoveryType: { case: "type", value: Cluster_DiscoveryType.STATIC },
      loadAssignment: { clusterName: "c", endpoints },
      ...more,
    }),
  );
  if (!compiled.ok) throw new Error(JSON.stringify(compiled.problems));
  const clusters = new LiveClusters();
  running.push(clusters);
  clusters.configure("c", compiled.value);
  const cluster = clusters.get("c");
  if (cluster === undefined) throw new Error("no cluster");
  return cluster;
}

/** How often each port is picked. */
function picks(cluster: ReturnType<typeof start>, times: number): Record<number, number> {
  const counts: Record<number, number> = {};
  for (let n = 0; n < times; n++) {
    const port = cluster.pick(undefined)?.port ?? 0;
    counts[port] = (counts[port] ?? 0) + 1;
  }
  return counts;
}

describe("health_status", () => {
  test("draining and unhealthy endpoints are out", () => {
    const out = [HealthStatus.DRAINING, HealthStatus.UNHEALTHY, HealthStatus.TIMEOUT];
    const cluster = start([
      {
        lbEndpoints: [
          endpoint(1),
          endpoint(2, { healthStatus: HealthStatus.HEALTHY }),
          endpoint(3),
          ...out.map((healthStatus, at) => endpoint(10 + at, { healthStatus })),
        ],
      },
    ]);
    expect(picks(cluster, 300)).toEqual({ 1: 100, 2: 100, 3: 100 });
  });

  test("degraded endpoints are the last resort", () => {
    const cluster = start([
      { lbEndpoints: [endpoint(1), endpoint(2, { healthStatus: HealthStatus.DEGRADED })], priority: 0 },
    ]);
    // 50 % healthy overprovisioned bear 70 %.
    const counts = picks(cluster, 10_000);
    expect(counts[1]).toBeGreaterThan(6_500);
    expect(counts[2]).toBeGreaterThan(2_500);
  });

  test("in panic all are used; with the threshold 0 nobody is", () => {
    const down = [endpoint(1, { healthStatus: HealthStatus.UNHEALTHY })];
    expect(start([{ lbEndpoints: down }]).pick(undefined)?.port).toBe(1);
    const strict = start([{ lbEndpoints: down }], { commonLbConfig: { healthyPanicThreshold: { value: 0 } } });
    expect(strict.pick(undefined)).toBeUndefined();
  });
});

test("no endpoints, nobody to pick", () => {
  expect(start([]).pick(undefined)).toBeUndefined();
});

test("an address that comes twice counts once", () => {
  expect([...start([{ lbEndpoints: [endpoint(1), endpoint(1)] }]).endpoints()]).toHaveLength(1);
});

test("locality weights share traffic exactly, whatever the number of endpoints", () => {
  const cluster = start(
    [
      { loadBalancingWeight: 3, lbEndpoints: [endpoint(1)] },
      { loadBalancingWeight: 1, lbEndpoints: [endpoint(2), endpoint(3)] },
      { lbEndpoints: [endpoint(4)] },
    ],
    { commonLbConfig: { localityConfigSpecifier: { case: "localityWeightedLbConfig", value: {} } } },
  );
  expect(picks(cluster, 800)).toEqual({ 1: 600, 2: 100, 3: 100 });
});

test("endpoints that were tried are avoided for so many draws", () => {
  const cluster = start([{ lbEndpoints: [endpoint(1), endpoint(2)] }]);
  const first = cluster.pick(undefined);
  const tried = new Set(first === undefined ? [] : [first]);
  for (let n = 0; n < 20; n++) expect(cluster.pick(undefined, tried, 5)).not.toBe(first);
  const both = new Set(cluster.endpoints());
  expect(cluster.pick(undefined, both, 5)).toBeDefined();
});

test("a hash sticks, and another draw goes elsewhere", () => {
  const cluster = start([{ lbEndpoints: [endpoint(1), endpoint(2), endpoint(3)] }], {
    lbPolicy: Cluster_LbPolicy.RING_HASH,
  });
  const first = cluster.pick(42n);
  for (let n = 0; n < 20; n++) expect(cluster.pick(42n)).toBe(first);
  expect(cluster.pick(42n, new Set(first === undefined ? [] : [first]), 1000)).not.toBe(first);
});

test("a DNS cluster resolves names, and its endpoints carry them", async () => {
  const cluster = start([{ lbEndpoints: [endpoint(80, {}, "localhost"), endpoint(81)] }], {
    clusterDiscoveryType: { case: "type", value: Cluster_DiscoveryType.STRICT_DNS },
    dnsLookupFamily: 3,
  });
  await expect
    .poll(() => [...cluster.endpoints()].map(({ key, hostname }) => `${hostname} ${key}`))
    .toEqual(["localhost 127.0.0.1:80", " 10.0.0.1:81"]);
});

describe("what is wrong is told with its place", () => {
  const tls = (value: Init<typeof UpstreamTlsContextSchema>) => ({
    transportSocket: {
      name: "tls",
      configType: {
        case: "typedConfig" as const,
        value: anyPack(UpstreamTlsContextSchema, create(UpstreamTlsContextSchema, value)),
      },
    },
  });
  const at = "transport_socket.typed_config.common_tls_context.validation_context";
  test.each<[string, Init<typeof ClusterSchema>, string]>([
    [
      "a name in a static cluster",
      { loadAssignment: { endpoints: [{ lbEndpoints: [endpoint(1, {}, "a.com")] }] } },
      "load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address.address",
    ],
    ["a gap in priorities", { loadAssignment: { endpoints: [{ priority: 1 }] } }, "load_assignment.endpoints"],
    ["a policy that is not there", { lbPolicy: Cluster_LbPolicy.CLUSTER_PROVIDED }, "lb_policy"],
    [
      "a file of authorities that is missing",
      tls({
        commonTlsContext: {
          validationContextType: {
            case: "validationContext",
            value: { trustedCa: { specifier: { case: "filename", value: "/nowhere/ca.pem" } } },
          },
        },
      }),
      `${at}.trusted_ca.filename`,
    ],
    [
      "authorities that are none",
      tls({
        commonTlsContext: {
          validationContextType: {
            case: "validationContext",
            value: { trustedCa: { specifier: { case: "inlineString", value: "nonsense" } } },
          },
        },
      }),
      `${at}.trusted_ca`,
    ],
  ])("%s", (_, message, field) => {
    const compiled = compileCluster(create(ClusterSchema, { name: "c", loadAssignment: {}, ...message }));
    expect(compiled.ok ? [] : compiled.problems.map((problem) => problem.field)).toEqual([field]);
  });
});

test("defaults are Envoy's", () => {
  const { settings } = start([]);
  expect(settings).toMatchObject({
    connectTimeoutMs: 5_000,
    tls: undefined,
    breakers: { maxConnections: 1024, maxPendingRequests: 1024, maxRequests: 1024, maxRetries: 3 },
    idleTimeoutMs: 3_600_000,
    maxRequestsPerConnection: 0,
  });
});
