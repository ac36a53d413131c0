/** What is counted of requests by who sent them and where they went, and what upstreams and clients are told of attempts. */
import type { JsonObject } from "@bufbuild/protobuf";
import { afterAll, beforeAll, expect, test } from "vitest";

import { startTwins, type Twins } from "../support/twins.ts";
import { type Echo, startUpstream, type Upstream } from "../support/upstream.ts";
import { waitFor } from "../support/wait.ts";

const cleanup = new AsyncDisposableStack();
let up: Upstream;
let twins: Twins;

const clusterAt = (port: number, endpoint: JsonObject): JsonObject => ({
  ...{ type: "STATIC", connectTimeout: "60s" },
  loadAssignment: {
    clusterName: "c",
    endpoints: [
      {
        lbEndpoints: [
          { endpoint: { address: { socketAddress: { address: "127.0.0.1", portValue: port } } }, ...endpoint },
        ],
      },
    ],
  },
});

const manager: JsonObject = {
  useRemoteAddress: true,
  routeConfig: {
    name: "table",
    virtualHosts: [
      {
        name: "all",
        domains: ["*"],
        includeRequestAttemptCount: true,
        includeAttemptCountInResponse: true,
        routes: ["plain", "canary", "panic"].map((cluster) => ({
          match: { prefix: `/${cluster}` },
          route: { cluster, retryPolicy: { retryOn: "5xx", numRetries: 2 } },
        })),
      },
    ],
  },
};

beforeAll(async () => {
  up = await startUpstream("up");
  cleanup.defer(() => up.close());
  twins = await startTwins({
    clusters: {
      plain: clusterAt(up.port, {}),
      canary: clusterAt(up.port, { metadata: { filterMetadata: { "envoy.lb": { canary: true } } } }),
      panic: clusterAt(up.port, { healthStatus: "UNHEALTHY" }),
    },
    listeners: {
      edge: { ...manager, internalAddressConfig: { cidrRanges: [{ addressPrefix: "10.0.0.0", prefixLen: 8 }] } },
      inside: { ...manager, internalAddressConfig: { cidrRanges: [{ addressPrefix: "127.0.0.0", prefixLen: 8 }] } },
    },
  });
  cleanup.defer(() => twins.stop());
});

afterAll(() => cleanup.disposeAsync());

test.each(["edge", "inside"])("attempts are told to upstreams and clients (%s)", async (listener) => {
  const answers = await twins.ask(listener, { path: "/plain" });
  for (const { headers, body } of [answers.native, answers.envoy]) {
    expect(headers["x-envoy-attempt-count"]).toBe("1");
    expect((JSON.parse(body) as Echo).headers["x-envoy-attempt-count"]).toBe("1");
  }
  const retried = await twins.ask(listener, { path: "/plain", headers: { "x-test-status": "503" } });
  for (const { headers, body } of [retried.native, retried.envoy]) {
    expect(headers["x-envoy-attempt-count"]).toBe("3");
    expect((JSON.parse(body) as Echo).headers["x-envoy-attempt-count"]).toBe("3");
  }
});

const names = ["plain", "canary", "panic"].flatMap((cluster) => [
  ...["lb_healthy_panic", "upstream_rq_completed", "upstream_rq_5xx", "upstream_rq_503", "upstream_rq_200"].map(
    (what) => `cluster.${cluster}.${what}`,
  ),
  ...["internal", "external", "canary", "retry"].flatMap((kind) =>
    ["completed", "2xx", "4xx", "5xx", "200", "404", "503"].map(
      (what) => `cluster.${cluster}.${kind}.upstream_rq_${what}`,
    ),
  ),
]);

test("requests are counted once more as internal or external, and as those of canaries; picks in panic are counted", async () => {
  for (const listener of ["edge", "inside", "inside"]) {
    await twins.ask(listener, { path: "/plain" });
    await twins.ask(listener, { path: "/canary", headers: { "x-test-status": "404" } });
    await twins.ask(listener, { path: "/panic" });
  }
  await waitFor(
    "the same counts",
    async () => {
      const stats = await twins.stats();
      const shown = (side: "native" | "envoy") => names.map((name) => `${name} ${stats[side].get(name) ?? 0}`);
      expect(shown("native")).toEqual(shown("envoy"));
      expect(stats.native.get("cluster.canary.canary.upstream_rq_404")).toBe("3");
      expect(stats.native.get("cluster.panic.lb_healthy_panic")).toBe("3");
      return true;
    },
    60_000,
  );
  const wanted = /^envoy_cluster_(internal|external|canary|retry)_upstream_rq(_xx|_completed|_time_count)?\{/;
  const lines = (text: string) =>
    text
      .split("\n")
      .filter((line) => wanted.test(line))
      .sort();
  // Envoy puts times into its histograms some seconds later.
  await waitFor(
    "the same metrics",
    async () => {
      const { native, envoy } = await twins.prometheus();
      expect(lines(native)).toEqual(lines(envoy));
      expect(lines(native).length).toBeGreaterThan(20);
      return true;
    },
    60_000,
  );
});
