/** Circuit breakers by routing priority: requests of HIGH have limits of their own, on both data planes. */
import type { JsonObject } from "@bufbuild/protobuf";
import { expect, test } from "vitest";

import { RawClient } from "../support/raw-client.ts";
import { clusterJson, startTwins } from "../support/twins.ts";
import { startUpstream } from "../support/upstream.ts";
import { waitFor } from "../support/wait.ts";

const SIDES = ["native", "envoy"] as const;

const breakers: JsonObject = {
  thresholds: [
    { priority: "DEFAULT", maxRequests: 1, trackRemaining: true },
    { priority: "HIGH", maxRequests: 2, trackRemaining: true },
  ],
};

const gauges = ["default", "high"].flatMap((priority) =>
  ["cx_open", "cx_pool_open", "rq_open", "rq_pending_open", "rq_retry_open", "remaining_rq"].map(
    (gauge) => `cluster.up.circuit_breakers.${priority}.${gauge}`,
  ),
);

test("a breaker that is open for most requests lets those of priority HIGH through, up to their own limit", async () => {
  await using cleanup = new AsyncDisposableStack();
  const up = await startUpstream("up");
  cleanup.defer(() => up.close());
  const twins = await startTwins({
    clusters: { up: { ...clusterJson("up", up.port), circuitBreakers: breakers } },
    listeners: {
      main: {
        routeConfig: {
          name: "table",
          virtualHosts: [
            {
              name: "all",
              domains: ["*"],
              routes: [
                { match: { prefix: "/high" }, route: { cluster: "up", priority: "HIGH", timeout: "0s" } },
                { match: { prefix: "/" }, route: { cluster: "up", timeout: "0s" } },
              ],
            },
          ],
        },
      },
    },
  });
  cleanup.defer(() => twins.stop());
  const active = async () => {
    const stats = await twins.stats();
    return SIDES.map((side) => Number(stats[side].get("cluster.up.upstream_rq_active") ?? 0));
  };

  /** A request on each side that lasts until the test is over. */
  const hold = async (path: string) => {
    const before = await active();
    for (const side of SIDES) {
      const client = cleanup.use(new RawClient(twins.ports[side]["main"] as number));
      client.send(`GET ${path} HTTP/1.1\r\nHost: a.test\r\nX-Test-Delay-Ms: 600000\r\n\r\n`);
    }
    await waitFor("the request", async () => (await active()).every((now, at) => now > (before[at] ?? 0)), 60_000);
  };
  await hold("/");
  const statuses = async (path: string) => {
    const { native, envoy } = await twins.ask("main", { path });
    return [native.status, envoy.status];
  };
  expect(await statuses("/")).toEqual([503, 503]);
  expect(await statuses("/high")).toEqual([200, 200]);
  await hold("/high");
  expect(await statuses("/high")).toEqual([200, 200]);
  await hold("/high");
  expect(await statuses("/high")).toEqual([503, 503]);
  await waitFor("the same gauges", async () => {
    const stats = await twins.stats();
    const shown = (side: (typeof SIDES)[number]) => gauges.map((name) => `${name} ${stats[side].get(name)}`);
    expect(shown("native")).toEqual(shown("envoy"));
    return true;
  });
});
