/** What configurations call their statistics: alt_stat_name of clusters, stat_prefix of listeners and connection limits, in names, tags and logs. */
import type { JsonObject } from "@bufbuild/protobuf";
import { expect, test } from "vitest";

import { RawClient } from "../support/raw-client.ts";
import { listenerJson, startTwins } from "../support/twins.ts";
import { startUpstream } from "../support/upstream.ts";
import { waitFor } from "../support/wait.ts";

const manager: JsonObject = {
  accessLog: [
    {
      name: "file",
      typedConfig: {
        "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
        path: "$LOG/access.log",
        logFormat: { textFormatSource: { inlineString: "%UPSTREAM_CLUSTER% %UPSTREAM_CLUSTER_RAW%\n" } },
      },
    },
  ],
  routeConfig: {
    name: "table",
    virtualHosts: [{ name: "all", domains: ["*"], routes: [{ match: { prefix: "/" }, route: { cluster: "up" } }] }],
  },
};

/** A listener with a name for its statistics, and one connection at most. */
function limited(statPrefix: string): JsonObject {
  const { filterChains } = listenerJson("limited", 0, { routeConfig: manager["routeConfig"] as JsonObject });
  const [chain] = filterChains as [{ filters: JsonObject[] }];
  const limit = {
    name: "limit",
    typedConfig: {
      "@type": "type.googleapis.com/envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit",
      statPrefix: "few",
      maxConnections: "1",
    },
  };
  return { statPrefix, filterChains: [{ filters: [limit, ...chain.filters] }] };
}

const names = [
  "cluster.pool_80.upstream_rq_total",
  "cluster.pool_80.upstream_rq_200",
  "cluster.pool_80.upstream_rq_2xx",
  "cluster.pool_80.upstream_rq_active",
  "listener.edge.downstream_cx_total",
  "listener.edge.downstream_cx_active",
  "connection_limit.few.limited_connections",
  "connection_limit.few.active_connections",
];

test("statistics go by the names that configurations give them", async () => {
  await using cleanup = new AsyncDisposableStack();
  const up = await startUpstream("up");
  cleanup.defer(() => up.close());
  const twins = await startTwins({
    clusters: {
      up: {
        altStatName: "pool:80",
        type: "STATIC",
        connectTimeout: "60s",
        loadAssignment: {
          clusterName: "up",
          endpoints: [
            {
              lbEndpoints: [{ endpoint: { address: { socketAddress: { address: "127.0.0.1", portValue: up.port } } } }],
            },
          ],
        },
      },
    },
    listeners: { main: manager },
    whole: { limited: limited("edge") },
  });
  cleanup.defer(() => twins.stop());

  const { native, envoy } = await twins.ask("main", {});
  expect([native.status, envoy.status]).toEqual([200, 200]);
  for (const side of ["native", "envoy"] as const) {
    const port = twins.ports[side]["limited"] as number;
    const first = new RawClient(port).send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    cleanup.defer(() => first[Symbol.dispose]());
    await first.until((text) => text.startsWith("HTTP/1.1 200"));
    using second = new RawClient(port);
    expect(await second.end()).toBe("");
  }

  await waitFor("the same counts", async () => {
    const stats = await twins.stats();
    const shown = (all: Map<string, string>) => names.map((name) => `${name} ${all.get(name)}`);
    expect(shown(stats.native)).toEqual(shown(stats.envoy));
    return true;
  });
  const prometheus = await twins.prometheus();
  const tagged = /envoy_(cluster_name="pool_80"|listener_address="edge"|connection_limit_prefix="few")/;
  const metrics = [
    "cluster_upstream_rq_total",
    "cluster_upstream_rq_active",
    "cluster_upstream_rq",
    "listener_downstream_cx_total",
    "listener_downstream_cx_active",
    "connection_limit_limited_connections",
    "connection_limit_active_connections",
  ];
  const lines = (text: string) =>
    text
      .split("\n")
      .filter((line) => tagged.test(line) && metrics.some((metric) => line.startsWith(`envoy_${metric}{`)))
      .sort();
  expect(lines(prometheus.native)).toHaveLength(metrics.length);
  expect(lines(prometheus.native)).toEqual(lines(prometheus.envoy));
  expect(await twins.lines("access.log", 1)).toEqual({ native: ["pool:80 up"], envoy: ["pool:80 up"] });
});
