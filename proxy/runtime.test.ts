/** The compiled configuration of a worker: what updates change, and what they leave as it is. */
import { mkdtempSync, readdirSync, readlinkSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";

import { create, toBinary } from "@bufbuild/protobuf";
import { anyPack } from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";

import { AccessLogSchema } from "#envoy/config/accesslog/v3/accesslog_pb.ts";

import { Cluster_DiscoveryType, Cluster_DnsLookupFamily, ClusterSchema } from "#envoy/config/cluster/v3/cluster_pb.ts";
import type { LbEndpointSchema } from "#envoy/config/endpoint/v3/endpoint_components_pb.ts";
import { ClusterLoadAssignmentSchema } from "#envoy/config/endpoint/v3/endpoint_pb.ts";
import { type Listener, ListenerSchema } from "#envoy/config/listener/v3/listener_pb.ts";
import { type RouteSchema, VirtualHostSchema } from "#envoy/config/route/v3/route_components_pb.ts";
import { RouteConfigurationSchema } from "#envoy/config/route/v3/route_pb.ts";
import { FileAccessLogSchema } from "#envoy/extensions/access_loggers/file/v3/file_pb.ts";
import { RouterSchema } from "#envoy/extensions/filters/http/router/v3/router_pb.ts";
import { HttpConnectionManagerSchema } from "#envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.ts";
import { resourceType } from "#proto/resource-types.ts";

import type { Init } from "../test/support/message-init.ts";
import { requestHead } from "../test/support/request-head.ts";
import { waitFor } from "../test/support/wait.ts";
import type { ListenerOptions } from "./listen/options.ts";
import { StatsReader } from "./observe/stats-reader.ts";
import { StatsStore } from "./observe/stats.ts";
import { validateResource } from "./parts.ts";
import { type RuntimeUpdate, WorkerRuntime } from "./runtime.ts";
import { findCluster } from "./upstream/cluster-context.ts";

const ads = { configSourceSpecifier: { case: "ads", value: {} } } as const;

const cds = (name: string, altStatName = ""): RuntimeUpdate => ({
  typeUrl: resourceType("CDS").typeUrl,
  name,
  bytes: toBinary(
    ClusterSchema,
    create(ClusterSchema, {
      name,
      altStatName,
      clusterDiscoveryType: { case: "type", value: Cluster_DiscoveryType.EDS },
      edsClusterConfig: { edsConfig: ads },
    }),
  ),
});

const dns = (name: string, host: string): RuntimeUpdate => ({
  typeUrl: resourceType("CDS").typeUrl,
  name,
  bytes: toBinary(
    ClusterSchema,
    create(ClusterSchema, {
      name,
      clusterDiscoveryType: { case: "type", value: Cluster_DiscoveryType.STRICT_DNS },
      dnsLookupFamily: Cluster_DnsLookupFamily.V4_PREFERRED,
      loadAssignment: { endpoints: [{ lbEndpoints: [endpoint(host, 80)] }] },
    }),
  ),
});

const endpoint = (address: string, port: number): Init<typeof LbEndpointSchema> => ({
  hostIdentifier: {
    case: "endpoint",
    value: {
      address: {
        address: { case: "socketAddress", value: { address, portSpecifier: { case: "portValue", value: port } } },
      },
    },
  },
});

const eds = (clusterName: string, ports: readonly number[]): RuntimeUpdate => ({
  typeUrl: resourceType("EDS").typeUrl,
  name: clusterName,
  bytes: toBinary(
    ClusterLoadAssignmentSchema,
    create(ClusterLoadAssignmentSchema, {
      clusterName,
      endpoints: [
        {
          lbEndpoints: ports.map(
            (port): Init<typeof LbEndpointSchema> => ({
              hostIdentifier: {
                case: "endpoint",
                value: {
                  address: {
                    address: {
                      case: "socketAddress",
                      value: { address: "10.0.0.1", portSpecifier: { case: "portValue", value: port } },
                    },
                  },
                },
              },
            }),
          ),
        },
      ],
    }),
  ),
});

const rds = (name: string, cluster: string): RuntimeUpdate => ({
  typeUrl: resourceType("RDS").typeUrl,
  name,
  bytes: toBinary(
    RouteConfigurationSchema,
    create(RouteConfigurationSchema, {
      name,
      virtualHosts: [
        {
          name: "all",
          domains: ["*"],
          routes: [
            {
              match: { pathSpecifier: { case: "prefix", value: "/" } },
              action: { case: "route", value: { clusterSpecifier: { case: "cluster", value: cluster } } },
            },
          ],
        },
      ],
    }),
  ),
});

/** `logs`: paths of its access logs. */
const listener = (name: string, port: number, logs: readonly string[] = []): Listener =>
  create(ListenerSchema, {
    name,
    address: {
      address: {
        case: "socketAddress",
        value: { address: "127.0.0.1", portSpecifier: { case: "portValue", value: port } },
      },
    },
    filterChains: [
      {
        filters: [
          {
            name: "hcm",
            configType: {
              case: "typedConfig",
              value: anyPack(
                HttpConnectionManagerSchema,
                create(HttpConnectionManagerSchema, {
                  statPrefix: name,
                  accessLog: logs.map((path) =>
                    create(AccessLogSchema, {
                      name: "file",
                      configType: {
                        case: "typedConfig",
                        value: anyPack(FileAccessLogSchema, create(FileAccessLogSchema, { path })),
                      },
                    }),
                  ),
                  routeSpecifier: { case: "rds", value: { routeConfigName: "routes", configSource: ads } },
                  httpFilters: [
                    {
                      name: "router",
                      configType: { case: "typedConfig", value: anyPack(RouterSchema, create(RouterSchema)) },
                    },
                  ],
                }),
              ),
            },
          },
        ],
      },
    ],
  });

const lds = (name: string, port: number, ...logs: readonly string[]): RuntimeUpdate => ({
  typeUrl: resourceType("LDS").typeUrl,
  name,
  bytes: toBinary(ListenerSchema, listener(name, port, logs)),
});

const gone = (shortName: "CDS" | "EDS" | "LDS" | "RDS", name: string): RuntimeUpdate => ({
  typeUrl: resourceType(shortName).typeUrl,
  name,
  bytes: null,
});

function startRuntime() {
  const listeners = new Map<string, ListenerOptions | undefined>();
  /** Ports of listeners in the order in which they were told of. */
  const ports: (number | undefined)[] = [];
  const runtime = new WorkerRuntime(new StatsStore(() => {}), (name, options) => {
    listeners.set(name, options);
    ports.push(options?.port);
  });
  return { runtime, listeners, ports };
}

test("a whole graph in one update serves", async () => {
  const { runtime, listeners } = startRuntime();
  await runtime.apply([cds("orders"), eds("orders", [9101]), rds("routes", "orders"), lds("http", 9080)]);
  const options = listeners.get("http");
  expect(options?.port).toBe(9080);
  const route = runtime.routeTable(options?.chains[0]?.http.routeConfigName ?? "")?.match(requestHead());
  if (route?.action.kind !== "forward") throw new Error("no route");
  const cluster = runtime.cluster(route.action.forward.cluster(requestHead()));
  expect(cluster?.pick(undefined)?.key).toBe("10.0.0.1:9101");
});

test("endpoints that stay are the same objects, those that leave are no longer alive", async () => {
  const { runtime } = startRuntime();
  await runtime.apply([cds("orders"), eds("orders", [1, 2])]);
  const cluster = runtime.cluster("orders");
  const [first, second] = [...(cluster?.endpoints() ?? [])];
  await runtime.apply([eds("orders", [2, 3])]);
  const now = [...(cluster?.endpoints() ?? [])];
  expect(now).toContain(second);
  expect(now.map(({ port }) => port)).toEqual([2, 3]);
  expect(first?.alive).toBe(false);
  expect(second?.alive).toBe(true);
  expect(runtime.cluster("orders")).toBe(cluster);
});

test("endpoints may come before the cluster that they are for, and stay when it changes", async () => {
  const { runtime } = startRuntime();
  await runtime.apply([eds("orders", [1])]);
  await runtime.apply([cds("orders")]);
  const endpoint = runtime.cluster("orders")?.pick(undefined);
  expect(endpoint?.port).toBe(1);
  await runtime.apply([cds("orders")]);
  expect(runtime.cluster("orders")?.pick(undefined)).toBe(endpoint);
});

const taking: RuntimeUpdate = {
  typeUrl: resourceType("RDS").typeUrl,
  name: "r",
  bytes: toBinary(
    RouteConfigurationSchema,
    create(RouteConfigurationSchema, { name: "r", vhds: { configSource: ads } }),
  ),
};

const vhds = (name: string, domain: string, routes: number, from = 0): RuntimeUpdate => ({
  typeUrl: resourceType("VHDS").typeUrl,
  name,
  bytes: toBinary(
    VirtualHostSchema,
    create(VirtualHostSchema, {
      name,
      domains: [domain],
      routes: Array.from(
        { length: routes },
        (_, at): Init<typeof RouteSchema> => ({
          name: `route ${from + at}`,
          match: { pathSpecifier: { case: "prefix", value: `/${from + at}` } },
          action: { case: "directResponse", value: { status: 200 } },
        }),
      ),
    }),
  ),
});

const routeOf = (runtime: WorkerRuntime, authority: string, path: string) =>
  runtime.routeTable("r")?.match(requestHead({ authority, path }))?.name;

test("virtual hosts that nobody has asked for change and go as all others, and are found at the first request", async () => {
  const { runtime } = startRuntime();
  await runtime.apply([taking, vhds("r/a", "A.test", 2), vhds("r/b", "b.test", 2)]);
  await runtime.apply([vhds("r/a", "a.test", 2, 5)]);
  expect([routeOf(runtime, "a.test", "/0"), routeOf(runtime, "a.test", "/5")]).toEqual([undefined, "route 5"]);
  // Compiled by now.
  await runtime.apply([vhds("r/a", "a.test", 1, 7)]);
  expect([routeOf(runtime, "a.test", "/5"), routeOf(runtime, "a.test", "/7")]).toEqual([undefined, "route 7"]);
  await runtime.apply([vhds("r/a", "other.test", 1)]);
  expect([routeOf(runtime, "a.test", "/0"), routeOf(runtime, "other.test", "/0")]).toEqual([undefined, "route 0"]);
  await runtime.apply([{ ...vhds("r/b", "", 0), bytes: null }]);
  expect(routeOf(runtime, "b.test", "/0")).toBeUndefined();
  await runtime.close();
});

test("a virtual host that was not asked for has the settings of its newest route configuration", async () => {
  const { runtime } = startRuntime();
  await runtime.apply([taking, vhds("r/a", "a.test", 1)]);
  const changed = create(RouteConfigurationSchema, {
    name: "r",
    vhds: { configSource: ads },
    responseHeadersToRemove: ["x-gone"],
  });
  // The main thread sends a route configuration's virtual hosts again with it.
  await runtime.apply([{ ...taking, bytes: toBinary(RouteConfigurationSchema, changed) }, vhds("r/a", "a.test", 1)]);
  const route = runtime.routeTable("r")?.match(requestHead({ authority: "a.test", path: "/0" }));
  expect(route?.mutations.response).toBeDefined();
  await runtime.close();
});

test("a virtual host that takes long to compile is compiled when it comes, and not while a request waits", async () => {
  const { runtime } = startRuntime();
  await runtime.apply([taking]);
  const broken = (routes: number) => {
    const host = vhds("r/a", "a.test", routes);
    // A route without an action: no main thread sends this, and it shows when a host is compiled.
    const bad = toBinary(VirtualHostSchema, create(VirtualHostSchema, { routes: [{ name: "bad", match: {} }] }));
    return { ...host, bytes: Buffer.concat([host.bytes ?? new Uint8Array(), bad]) };
  };
  await expect(runtime.apply([broken(5_000)])).rejects.toThrow(/VHDS r\/a: routes\[5000\]/);
  await runtime.apply([broken(1)]);
  expect(() => routeOf(runtime, "a.test", "/0")).toThrow(/VHDS r\/a: routes\[1\]/);
});

test("clusters that nobody has asked for change and go as all others, and have the latest endpoints at the first request", async () => {
  const { runtime } = startRuntime();
  await runtime.apply([cds("a"), cds("b"), cds("c"), eds("a", [1]), eds("b", [1])]);
  await runtime.apply([eds("a", [2, 3]), gone("CDS", "b"), cds("c")]);
  expect([...(runtime.cluster("a")?.endpoints() ?? [])].map(({ port }) => port)).toEqual([2, 3]);
  expect(runtime.cluster("b")).toBeUndefined();
  expect(runtime.cluster("c")?.pick(undefined)).toBeUndefined();
  await runtime.apply([eds("c", [4])]);
  expect(runtime.cluster("c")?.pick(undefined)?.port).toBe(4);
  expect(runtime.cluster("a")).toBe(runtime.cluster("a"));
});

test("a list of all clusters shows those that nobody has asked for, and doesn't keep them", async () => {
  const { runtime } = startRuntime();
  await runtime.apply([cds("a"), cds("b"), eds("a", [1, 2]), eds("b", [3])]);
  runtime.cluster("b");
  const listed = () =>
    Array.from(runtime.clusters(), (one) => [one.name, ...Array.from(one.endpoints(), ({ port }) => port)]);
  expect(listed()).toEqual([
    ["a", 1, 2],
    ["b", 3],
  ]);
  await runtime.apply([eds("a", [4])]);
  expect(listed()).toContainEqual(["a", 4]);
  const [shown] = runtime.clusters();
  expect(shown).not.toBe(runtime.cluster("a"));
});

test("a new cluster has its names resolved before anything sends to it, and updates stay in order", async () => {
  const { runtime, ports } = startRuntime();
  const first = runtime.apply([dns("orders", "localhost"), rds("routes", "orders"), lds("http", 1)]);
  const second = runtime.apply([lds("http", 2)]);
  expect(ports).toEqual([]);
  await first;
  expect(runtime.cluster("orders")?.pick(undefined)?.key).toBe("127.0.0.1:80");
  await second;
  expect(ports).toEqual([1, 2]);
  await runtime.close();
});

test("a cluster that is removed has no living endpoint", async () => {
  const { runtime } = startRuntime();
  await runtime.apply([cds("orders"), eds("orders", [1])]);
  const endpoint = runtime.cluster("orders")?.pick(undefined);
  await runtime.apply([gone("CDS", "orders")]);
  expect(runtime.cluster("orders")).toBeUndefined();
  expect(endpoint?.alive).toBe(false);
});

test("listeners are told of when they come, change and go, and only then", async () => {
  const { runtime, listeners } = startRuntime();
  await runtime.apply([lds("http", 1)]);
  expect(listeners.get("http")?.port).toBe(1);
  listeners.clear();
  await runtime.apply([rds("routes", "orders")]);
  expect([...listeners]).toEqual([]);
  await runtime.apply([gone("LDS", "http"), gone("LDS", "never-there")]);
  expect([...listeners]).toEqual([["http", undefined]]);
});

test("an update that cannot be used changes nothing", async () => {
  const { runtime } = startRuntime();
  const broken = { ...rds("routes", ""), name: "routes" };
  await expect(runtime.apply([cds("orders"), broken])).rejects.toThrow(/RDS routes: .*cluster: must not be empty/);
  expect(runtime.cluster("orders")).toBeUndefined();
});

test("the dry run says what is wrong, with the field's path", () => {
  const wrong = listener("http", 1);
  wrong.filterChains = [];
  expect(validateResource(resourceType("LDS").typeUrl, wrong)).toEqual([
    { field: "filter_chains", message: "at least one filter chain, or default_filter_chain, must be set" },
  ]);
  expect(validateResource(resourceType("LDS").typeUrl, listener("http", 1))).toEqual([]);
});

test("a cluster that is gone takes its statistics with it, unless another one is called so in them", async () => {
  const reader = new StatsReader();
  const runtime = new WorkerRuntime(new StatsStore((message) => reader.take(0, message)), () => {});
  const counted = async () => {
    await setImmediate();
    return Array.from(reader.totals("cluster"), (sums) => `${sums.name} ${sums.value("upstream_rq_total")}`);
  };
  await runtime.apply([cds("orders"), cds("blue", "shop"), cds("green", "shop"), cds("unused")]);
  for (const name of ["orders", "blue", "green"]) findCluster(runtime, name)?.stats.upstream_rq_total.inc();
  expect(await counted()).toEqual(["orders 1", "shop 2"]);
  await runtime.apply([gone("CDS", "orders"), gone("CDS", "blue"), gone("CDS", "unused")]);
  expect(await counted()).toEqual(["shop 2"]);
  await runtime.apply([gone("CDS", "green"), cds("orders")]);
  expect(await counted()).toEqual([]);
  findCluster(runtime, "orders")?.stats.upstream_rq_total.inc();
  expect(await counted()).toEqual(["orders 1"]);
  await runtime.close();
});

test("a file that no listener logs to any more is closed", async () => {
  const folder = mkdtempSync(join(tmpdir(), "sluice-runtime-"));
  const [a, b] = [join(folder, "a.log"), join(folder, "b.log")] as const;
  /** Our files that this process has open. */
  const open = () =>
    readdirSync("/proc/self/fd")
      .flatMap((descriptor) => {
        try {
          return readlinkSync(`/proc/self/fd/${descriptor}`);
        } catch {
          return []; // The one that the folder was read with.
        }
      })
      .filter((path) => path.startsWith(folder))
      .sort();
  const { runtime } = startRuntime();
  const write = () => {
    for (const path of [a, b]) runtime.sinks.sink(path).write("line\n");
  };
  try {
    await runtime.apply([lds("one", 1, a), lds("two", 2, a, b)]);
    write();
    await waitFor("both files", () => open().join() === [a, b].join());
    // Each by one listener that is changed, and one that is gone.
    await runtime.apply([lds("one", 1), gone("LDS", "two"), lds("three", 3, b)]);
    await waitFor("one file to be closed", () => open().join() === b);
    await runtime.apply([gone("LDS", "three")]);
    await waitFor("all files to be closed", () => open().length === 0);
  } finally {
    await runtime.close();
    rmSync(folder, { recursive: true });
  }
});
