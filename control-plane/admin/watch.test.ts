import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { create } from "@bufbuild/protobuf";
import { createClient, createContextValues } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { GatewayService, type WatchRequest, WatchRequestSchema } from "#sluice/admin/v1/gateway_service_pb.ts";
import { ServiceSchema } from "#sluice/model/v1/service_pb.ts";

import { authorized } from "../../test/support/control-plane.ts";
import { waitFor } from "../../test/support/wait.ts";
import { Endpoints } from "../endpoints/endpoints.ts";
import { createLogger } from "../observe/logger.ts";
import { MetricsRegistry } from "../observe/metrics.ts";
import { openStore } from "../store/open.ts";
import type { Store } from "../store/store.ts";
import { Loads } from "../reports/loads.ts";
import { ConnectedClients } from "../xds/connected-clients.ts";
import { blameFrom } from "../rollout/blame-sources.ts";
import { rolloutMetrics } from "../rollout/metrics.ts";
import { Rollouts } from "../rollout/tracker.ts";
import { ResourceCache } from "../xds/cache.ts";
import { Publications } from "../xds/publications.ts";
import { NodeRegistry } from "../xds/status.ts";
import { formatAddress } from "./address.ts";
import { cutKey } from "./context.ts";
import { Readiness } from "./health.ts";
import { startAdminServer } from "./server.ts";
import { loadToken } from "./token.ts";
import { Watches } from "./watch.ts";

let dir: string;
let store: Store;
let metrics: MetricsRegistry;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "sluice-watch-"));
  store = await openStore({ dataDir: join(dir, "data") }, { warn: () => {} });
  metrics = new MetricsRegistry();
});
afterEach(async () => {
  await store.close();
  await rm(dir, { recursive: true });
});

const makeWatches = (limits: ConstructorParameters<typeof Watches>[3]) =>
  new Watches(store, metrics.gauge({ name: "watches", help: "Open." }), createLogger("silent"), limits);
const everything: WatchRequest = create(WatchRequestSchema, {});
const call = (values = createContextValues()) => ({ signal: new AbortController().signal, values });

test("more watches than fit are refused, and a place is free again when one ends", async () => {
  const watches = makeWatches({ watchesMax: 1 });
  const first = watches.watch(everything, call());
  await first.next();
  expect(metrics.text()).toContain("watches 1\n");
  await expect(watches.watch(everything, call()).next()).rejects.toThrow("[resource_exhausted] 1 watches are open");
  await first.return(undefined);
  expect(metrics.text()).toContain("watches 0\n");
  const second = watches.watch(everything, call());
  await second.next();
  await second.return(undefined);
});

test("a watcher that does not read is cut off", async () => {
  const watches = makeWatches({ stalledMsMax: 20 });
  let cut = false;
  const values = createContextValues().set(cutKey, () => {
    cut = true;
  });
  const watch = watches.watch(everything, call(values));
  await watch.next();
  // The message was handed over, and nobody asks for the next one.
  await waitFor("the cut", () => cut);
  await watch.return(undefined);
});

test.each(["1.1", "2"] as const)("over HTTP/%s a client that does not read loses its call", async (version) => {
  const token = "sluice_".padEnd(50, "t");
  const [nodes, cache] = [new NodeRegistry(), new ResourceCache()];
  const rollouts = new Rollouts({
    ...{ target: cache, nodes, publications: new Publications() },
    ...{ metrics: rolloutMetrics(metrics), blame: blameFrom(cache, store) },
  });
  const server = await startAdminServer({
    ...{ version: "0", startTime: new Date(), store, nodes, rollouts, xdsAddress: "" },
    ...{ address: { host: "127.0.0.1", port: 0 }, metrics, log: createLogger("silent"), readiness: new Readiness() },
    token: loadToken(dir, token),
    clients: new ConnectedClients(),
    reports: { loads: new Loads(new MetricsRegistry(), () => true), reopenLogs: async () => {} },
    endpoints: new Endpoints({ dataDir: dir, log: createLogger("silent") }),
    leaseJournal: { kept: async () => {} },
    watchLimits: { stalledMsMax: 300 },
  });
  // More than the socket's buffers and HTTP/2's windows hold, compressed or not.
  for (let at = 0; at < 24; at++) {
    const value = create(ServiceSchema, {
      name: `s${at}`,
      gatewayGroup: "default",
      description: randomBytes(700_000).toString("base64"),
    });
    await store.write({ actor: "" }, () => ({
      writes: { puts: [{ kind: "service", value }], deletes: [] },
      result: 0,
    }));
  }
  const printed = vi.spyOn(console, "error");
  const baseUrl = `http://${formatAddress(server.address)}`;
  const transport = createConnectTransport({ baseUrl, httpVersion: version, interceptors: [authorized(token)] });
  const watch = createClient(GatewayService, transport).watch({ afterRevision: 0n })[Symbol.asyncIterator]();
  // Its first message says that it was open.
  await watch.next();
  await waitFor("the watch to end", () => metrics.text().includes("sluice_admin_watches 0\n"));
  const rest = async () => {
    while ((await watch.next()).done !== true);
  };
  await expect(rest()).rejects.toThrow();
  await server.close(100);
  // connect-node tells nobody else of what it takes for a failure.
  expect(printed.mock.calls).toEqual([]);
});

test("a watcher that waits for news is not", async () => {
  const watches = makeWatches({ stalledMsMax: 20 });
  let cut = false;
  const values = createContextValues().set(cutKey, () => {
    cut = true;
  });
  const leave = new AbortController();
  const watch = watches.watch(everything, { signal: leave.signal, values });
  await watch.next();
  const next = watch.next();
  await new Promise((resolve) => setTimeout(resolve, 60));
  expect(cut).toBe(false);
  leave.abort(new Error("done"));
  await expect(next).rejects.toThrow("done");
});
