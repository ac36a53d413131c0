/** Who waits for a connection when many come at once. */
import { expect, test } from "vitest";

import { clusterOf, endpointAt, TestServer } from "../../test/support/data-path.ts";
import { TestStats } from "../../test/support/test-stats.ts";
import { until } from "../../test/support/wait.ts";
import { freePort } from "../../test/support/ports.ts";
import { findCluster } from "./cluster-context.ts";
import { EndpointPool } from "./pool.ts";
import { type Carrier, CONNECTING_MAX } from "./waiting-pool.ts";

const CROWD = CONNECTING_MAX + 50;

/** `firstReturns`: whether who is served first gives its connection back at once. */
function crowdAt(port: number, firstReturns = false) {
  const endpoint = endpointAt(port);
  const cluster = clusterOf([endpoint], { connectTimeoutMs: 60_000 });
  const stats = new TestStats();
  const runtime = { stats, secret: () => undefined, cluster: () => cluster, routeTable: () => undefined };
  const context = findCluster(runtime, cluster.name);
  if (context === undefined) throw new Error("there is no cluster");
  const pool = new EndpointPool(context, endpoint, "");
  const served: { readonly user: number; readonly carrier: Carrier }[] = [];
  const failed: number[] = [];
  for (let user = 0; user < CROWD; user++) {
    pool.acquire({
      wantedUpgrade: "",
      onConnection: (carrier) => {
        served.push({ user, carrier });
        if (firstReturns && user === 0 && !carrier.isHttp2) pool.release(carrier);
      },
      onPoolFailure: () => void failed.push(user),
    });
  }
  const connecting = () => stats.get("upstream_cx_total") - stats.get("upstream_cx_http1_total");
  return { served, failed, stats, connecting };
}

test("a bounded number of connections is opened at once, and all who wait get one, in their order", async () => {
  await using origin = await TestServer.raw((socket) => socket.resume());
  const { served, stats, connecting } = crowdAt(origin.port);
  expect(connecting()).toBe(CONNECTING_MAX);
  let most = 0;
  origin.server.on("connection", () => {
    most = Math.max(most, connecting());
  });

  await until(() => served.length === CROWD);

  expect(served.map(({ user }) => user)).toEqual(Array.from({ length: CROWD }, (_, user) => user));
  expect(most).toBeLessThanOrEqual(CONNECTING_MAX);
  expect(stats.get("upstream_cx_total")).toBe(CROWD);
  expect(stats.get("upstream_rq_pending_active")).toBe(0);
});

test("a connection that comes free serves the one who waited longest, and none is opened for it", async () => {
  await using origin = await TestServer.raw((socket) => socket.resume());
  const { served, stats } = crowdAt(origin.port, true);

  await until(() => served.length === CROWD);

  expect(served[1]).toEqual({ user: 1, carrier: served[0]?.carrier });
  expect(stats.get("upstream_cx_total")).toBe(CROWD - 1);
});

test("where not all who wait have a connection under way, a failure is everybody's", async () => {
  const { failed, stats } = crowdAt(await freePort());

  await until(() => failed.length === CROWD);

  expect(stats.get("upstream_rq_pending_failure_eject")).toBe(CROWD);
  await until(() => stats.get("upstream_cx_active") === 0);
  expect(stats.get("upstream_cx_total")).toBe(CONNECTING_MAX);
});

test("an idle connection that will never serve a request again is closed, though nobody asks for it", async () => {
  let open = 0;
  await using origin = await TestServer.raw((socket) => {
    open++;
    socket.resume().on("close", () => open--);
  });
  const endpoint = endpointAt(origin.port);
  const cluster = clusterOf([endpoint], { maxConnectionDurationMs: 500, idleTimeoutMs: 0 });
  const stats = new TestStats();
  const runtime = { stats, secret: () => undefined, cluster: () => cluster, routeTable: () => undefined };
  const context = findCluster(runtime, cluster.name);
  if (context === undefined) throw new Error("there is no cluster");
  const pool = new EndpointPool(context, endpoint, "");
  const { promise, resolve, reject } = Promise.withResolvers<Carrier>();
  pool.acquire({ wantedUpgrade: "", onConnection: resolve, onPoolFailure: (reason) => reject(new Error(reason)) });
  const carrier = await promise;
  if (!carrier.isHttp2) pool.release(carrier);
  await until(() => stats.get("upstream_cx_destroy") === 1 && open === 0);
  expect(stats.get("upstream_cx_max_duration_reached")).toBe(1);
});
