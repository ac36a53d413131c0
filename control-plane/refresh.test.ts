/** The joint between the store and the cache, both real. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { create } from "@bufbuild/protobuf";
import { afterEach, expect, test } from "vitest";

import { resourceType } from "#proto/resource-types.ts";
import type { ServiceSnapshot } from "#sluice/discovery/v1/snapshot_pb.ts";
import { GatewayGroupSchema } from "#sluice/model/v1/gateway_group_pb.ts";
import { ServiceSchema } from "#sluice/model/v1/service_pb.ts";

import { snapshotOf } from "../discovery/testing/scripted-source.ts";
import { discoveryKey } from "./model/discovery-key.ts";
import { keyOf, type StoredObject } from "./model/objects.ts";
import { type ChangedServices, Endpoints } from "./endpoints/endpoints.ts";
import { type RefreshReport, startRefresh } from "./refresh.ts";
import { StoreError } from "./store/errors.ts";
import { openStore } from "./store/open.ts";
import { ResourceCache } from "./xds/cache.ts";
import { bodyOf } from "./xds/wire.ts";
import { waitFor } from "../test/support/wait.ts";

const cds = resourceType("CDS").typeUrl;
const eds = resourceType("EDS").typeUrl;
const cleanups: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function start() {
  const dataDir = mkdtempSync(join(tmpdir(), "sluice-refresh-"));
  const store = await openStore({ dataDir }, { warn: () => {} });
  const cache = new ResourceCache();
  const endpoints = new Endpoints({ dataDir, log: { info: () => {}, warn: () => {} } });
  cleanups.push(async () => await endpoints.close());
  const errors: object[] = [];
  const reports: RefreshReport[] = [];
  const write = async (puts: StoredObject[], deletes: StoredObject[] = []) =>
    await store.write({ actor: "test" }, () => ({ writes: { puts, deletes: deletes.map(keyOf) }, result: undefined }));
  const follow = async () => {
    const refresh = startRefresh({
      store,
      cache,
      endpoints,
      log: { error: (fields) => errors.push(fields) },
      report: (report) => reports.push(report),
    });
    cleanups.push(async () => await refresh.close());
    await refresh.ready;
  };
  cleanups.push(async () => {
    await store.close();
    rmSync(dataDir, { recursive: true });
  });
  const clusters = (group: string) => [...(cache.resources(group, cds)?.values() ?? [])].map(({ name }) => name).sort();
  return { store, cache, endpoints, write, follow, clusters, errors, reports };
}

const service = (name: string, gatewayGroup = "default", upstreams = ["default"]): StoredObject => ({
  kind: "service",
  value: create(ServiceSchema, {
    name,
    gatewayGroup,
    upstreams: upstreams.map((upstream) => ({ name: upstream, nodes: [{ host: "10.0.0.1", port: 80 }] })),
    routes: [{ name: "all", paths: ["/"], upstream: upstreams[0] ?? "" }],
  }),
});

const group = (name: string): StoredObject => ({ kind: "gatewayGroup", value: create(GatewayGroupSchema, { name }) });

test("what is stored at the start is in the cache when it is ready", async () => {
  const { write, follow, clusters, cache } = await start();
  await write([service("a"), service("b")]);
  expect(cache.ready).toBe(false);

  await follow();

  expect(cache.ready).toBe(true);
  expect(clusters("default")).toEqual(["a/default", "b/default"]);
});

test("writes reach the cache, in the group that they are in", async () => {
  const { write, follow, clusters } = await start();
  await follow();

  await write([group("edge"), service("a"), service("a", "edge", ["default", "other"])]);

  await waitFor("the refresh", () => clusters("edge").length === 2);
  expect(clusters("default")).toEqual(["a/default"]);
  await write([service("a", "edge")], [service("a")]);
  await waitFor("the refresh", () => clusters("edge").length === 1);
  expect(clusters("default")).toEqual([]);
});

test("a group that is deleted is forgotten, and may come back", async () => {
  const { write, follow, clusters, cache } = await start();
  await write([group("edge"), service("a", "edge")]);
  await follow();

  await write([], [service("a", "edge"), group("edge")]);
  await waitFor("the refresh", () => !cache.hasGroup("edge"));

  await write([group("edge"), service("b", "edge")]);
  await waitFor("the refresh", () => clusters("edge").includes("b/default"));
  expect(clusters("edge")).toEqual(["b/default"]);
});

test("many writes in a row become few refreshes", async () => {
  const { store, cache, endpoints, write, clusters, reports } = await start();
  // On a disk that takes long for each write they would come one by one: here it hears of them together.
  const heard: (() => void)[] = [];
  const refresh = startRefresh({
    ...{ cache, endpoints, log: { error: () => {} }, report: (report) => reports.push(report) },
    store: {
      snapshot: () => store.snapshot(),
      subscribe: (listener) => store.subscribe((revision) => heard.push(() => listener(revision))),
      transactionsAfter: (revision, limit) => store.transactionsAfter(revision, limit),
    },
  });
  cleanups.push(async () => await refresh.close());
  await refresh.ready;

  for (let at = 0; at < 50; at++) await write([service(`s${at}`)]);
  for (const tell of heard) tell();

  const revision = await store.revision();
  await waitFor("the refresh", () => reports.at(-1)?.revision === revision);
  expect(clusters("default")).toHaveLength(50);
  expect(reports.length).toBeLessThan(25);
});

test("a service that can't be translated stops no other, and is logged once", async () => {
  const { store, write, follow, clusters, reports, errors } = await start();
  await follow();
  const broken = service("broken", "default", []);
  await write([broken, service("fine")]);
  await waitFor("the refresh", () => clusters("default").includes("fine/default"));

  await write([{ ...broken }, service("another")]);

  const revision = await store.revision();
  await waitFor("the refresh", () => reports.at(-1)?.revision === revision);
  expect(errors).toMatchObject([{ object: "service default/broken" }]);
});

test("after close, nothing is written to the cache", async () => {
  const { store, cache, endpoints, write, clusters } = await start();
  const refresh = startRefresh({ store, cache, endpoints, log: { error: () => {} } });
  await refresh.ready;
  await refresh.close();

  await write([service("late")]);

  expect(clusters("default")).toEqual([]);
});

test("a cache whose filling was interrupted never becomes ready", async () => {
  const { store, cache, endpoints, write } = await start();
  await write(Array.from({ length: 200 }, (_, at) => service(`s${at}`)));

  await startRefresh({ store, cache, endpoints, log: { error: () => {} } }).close();

  expect(cache.ready).toBe(false);
});

test("what a registry says while everything is translated for the first time is not lost", async () => {
  const { store, cache, endpoints, write } = await start();
  const found = (name: string): StoredObject => ({
    kind: "service",
    value: create(ServiceSchema, {
      ...{ name, gatewayGroup: "default", routes: [{ name: "all", paths: ["/"], upstream: "default" }] },
      upstreams: [{ name: "default", discovery: { registry: "own", service: name } }],
    }),
  });
  await write([found("first"), found("second")]);
  const says = new Map<string, ServiceSnapshot>([
    ["first", snapshotOf("first", ["10.0.0.1"])],
    ["second", snapshotOf("second", ["10.0.0.1"])],
  ]);
  let tell = (_changed: ChangedServices) => {};
  const refresh = startRefresh({
    ...{ store, cache, log: { error: () => {} } },
    endpoints: {
      setRegistry: (...it) => endpoints.setRegistry(...it),
      setService: () => {},
      removeGroup: () => {},
      settled: async () => {},
      onChange: (listener) => (tell = listener),
      latest: (_group, discovery) => {
        // The first one's turn is over.
        if (discovery.service === "second" && says.get("first")?.endpoints[0]?.address === "10.0.0.1") {
          says.set("first", snapshotOf("first", ["10.0.0.2"]));
          tell(new Map([["default", new Set([discoveryKey({ ...discovery, service: "first" })])]]));
        }
        return says.get(discovery.service);
      },
    },
  });
  cleanups.push(async () => await refresh.close());

  await refresh.ready;

  const assignment = cache.resources("default", eds)?.get("first/default");
  expect(assignment && Buffer.from(bodyOf(assignment)).toString("latin1")).toContain("10.0.0.2");
});

test("a store that fails is asked again", async () => {
  const { store, cache, endpoints, write, clusters, errors } = await start();
  let failures = 2;
  const refresh = startRefresh({
    cache,
    endpoints,
    log: { error: (fields) => errors.push(fields) },
    store: {
      snapshot: () => store.snapshot(),
      subscribe: (listener) => store.subscribe(listener),
      transactionsAfter: async (revision, limit) => {
        if (failures-- > 0) throw new Error("gone");
        return await store.transactionsAfter(revision, limit);
      },
    },
  });
  cleanups.push(async () => await refresh.close());
  await refresh.ready;

  await write([service("a")]);

  await waitFor("the refresh", () => clusters("default").includes("a/default"));
  expect(errors).toHaveLength(2);
});

test("changes that the store doesn't keep any more are found by comparing everything", async () => {
  const { store, cache, endpoints, write, clusters, errors } = await start();
  await write([service("a"), service("b"), group("other"), service("x", "other")]);
  let kept = false;
  const refresh = startRefresh({
    cache,
    endpoints,
    log: { error: (fields) => errors.push(fields) },
    store: {
      snapshot: () => store.snapshot(),
      subscribe: (listener) => store.subscribe(listener),
      transactionsAfter: async (revision, limit) => {
        if (!kept) throw new StoreError("out_of_range", "not kept");
        return await store.transactionsAfter(revision, limit);
      },
    },
  });
  cleanups.push(async () => await refresh.close());
  await refresh.ready;
  expect(clusters("other")).toEqual(["x/default"]);

  await write([service("c")], [service("a"), service("x", "other"), group("other")]);
  await waitFor("the refresh", () => clusters("default").includes("c/default"));
  expect(clusters("default")).toEqual(["b/default", "c/default"]);
  expect(cache.hasGroup("other")).toBe(false);
  // It follows as before from then on.
  kept = true;
  await write([service("d")]);
  await waitFor("the refresh", () => clusters("default").includes("d/default"));
  expect(errors).toEqual([]);
});
