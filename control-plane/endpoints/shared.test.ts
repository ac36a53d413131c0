/** What replicas share of discovery, on a real PostgreSQL: who comes first decides nothing. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { create, toBinary } from "@bufbuild/protobuf";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";

import { ServiceKeySchema, ServiceSnapshotSchema } from "#sluice/discovery/v1/snapshot_pb.ts";
import { RegistrySchema } from "#sluice/model/v1/registry_pb.ts";
import { DiscoverySchema } from "#sluice/model/v1/upstream_pb.ts";

import { keyText } from "../../discovery/source.ts";
import { snapshotOf } from "../../discovery/testing/scripted-source.ts";
import { startPostgres, type TestPostgres } from "../../test/support/postgres.ts";
import { waitFor } from "../../test/support/wait.ts";
import { openStore } from "../store/open.ts";
import { Endpoints } from "./endpoints.ts";
import { SharedEndpoints, type SharedRows } from "./shared.ts";

let postgres: TestPostgres;
const cleanups: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  postgres = await startPostgres();
});

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

afterAll(async () => {
  await postgres?.stop();
});

/** The rows of a database, as one replica has them. @param hooks stand before them */
async function openRows(hooks: (rows: SharedRows) => Partial<SharedRows> = () => ({})): Promise<SharedRows> {
  const store = await openStore({ dataDir: "", url: await postgres.createDatabase() }, { warn: () => {} });
  cleanups.push(() => store.close());
  const { shared } = store;
  const rows: SharedRows = {
    claim: (...it) => shared.claim(...it),
    release: (holder) => shared.release(holder),
    drop: (...it) => shared.drop(...it),
    index: () => shared.index(),
    read: (keys) => shared.read(keys),
    write: (...it) => shared.write(...it),
    follow: (onChange) => shared.follow(onChange),
  };
  return { ...rows, ...hooks(rows) };
}

const found = async (rows: SharedRows) => (await rows.index()).map(({ registry, service }) => `${registry} ${service}`);

test("a registry that is deleted and comes back at once keeps what is found of it then", async () => {
  const dropped = Promise.withResolvers<void>();
  let isPublished = false;
  const rows = await openRows((made) => ({
    async drop(...it) {
      // A database that takes its time: long enough for whatever doesn't wait for this.
      for (let at = 0; at < 50 && !isPublished; at++) await sleep(20);
      const isGone = await made.drop(...it);
      dropped.resolve();
      return isGone;
    },
  }));
  const shared = new SharedEndpoints(rows);
  cleanups.push(() => shared.close());
  await shared.start({ roleChanged: () => {}, warn: () => {} }, () => "");
  shared.want("g/r");
  await waitFor("the registry", () => shared.isHolder("g/r"));
  shared.publish("g/r", "before", snapshotOf("before", ["10.0.0.1"]));
  await waitFor("what is found", async () => (await found(rows)).join() === "g/r before");

  shared.drop("g/r");
  shared.want("g/r");
  await waitFor("the registry again", () => shared.isHolder("g/r"));
  shared.publish("g/r", "after", snapshotOf("after", ["10.0.0.2"]));
  void waitFor("what is found", async () => (await found(rows)).includes("g/r after")).then(
    () => (isPublished = true),
    () => undefined,
  );
  await dropped.promise;
  await waitFor("what is found after that, alone", async () => (await found(rows)).join() === "g/r after");
});

test("who learns late that a registry was deleted deletes nothing of another one under its name", async () => {
  const rows = await openRows();
  const wanted = [{ registry: "g/r", info: "" }];
  const put = { registry: "g/r", service: "orders", bytes: Buffer.from("x") };
  await rows.claim(wanted, "prompt", 60_000);
  await rows.write("prompt", [put], []);
  expect(await rows.drop("g/r", "late")).toBe(false);
  expect(await found(rows)).toEqual(["g/r orders"]);
  expect(await rows.drop("g/r", "prompt")).toBe(true);
  expect(await found(rows)).toEqual([]);
  expect(await rows.drop("g/r", "late")).toBe(true);
});

test("a service that nobody wants for a moment is there for other replicas afterwards", async () => {
  const dataDir = await mkdtemp(join(tmpdir(), "sluice-shared-"));
  cleanups.push(() => rm(dataDir, { recursive: true }));
  const path = join(dataDir, "services.yaml");
  await writeFile(path, "services: { orders: [{ address: 10.0.0.1, port: 80 }] }\n");
  const upstreams = new Map([["x", create(DiscoverySchema, { registry: "files", service: "orders" })]]);
  let wantAgain = () => {};
  const rows = await openRows((made) => ({
    async write(holder, puts, gone) {
      await made.write(holder, puts, gone);
      // Between the rows that are gone and the word of that, which comes by another connection.
      if (gone.length > 0) wantAgain();
    },
  }));
  const shared = new SharedEndpoints(rows);
  const endpoints = new Endpoints({ dataDir, log: { info: () => {}, warn: () => {} }, shared });
  cleanups.push(() => endpoints.close());
  await endpoints.start();
  endpoints.setRegistry(
    "g",
    "files",
    create(RegistrySchema, { name: "files", kind: { case: "file", value: { path } } }),
  );
  endpoints.setService("g", "a", upstreams);
  await waitFor("it to be shared", () => shared.latest("g/files", "orders") !== undefined);

  let isWantedAgain = false;
  wantAgain = () => {
    endpoints.setService("g", "a", upstreams);
    isWantedAgain = true;
  };
  endpoints.setService("g", "a", new Map());
  await waitFor("it to be wanted again", () => isWantedAgain);
  await waitFor("it to be shared again", async () => (await found(rows)).join() === "g/files orders");
});

test("a registry that falls to this replica while it ends is not watched any more", async () => {
  const dataDir = await mkdtemp(join(tmpdir(), "sluice-shared-"));
  cleanups.push(() => rm(dataDir, { recursive: true }));
  const claimed = Promise.withResolvers<void>();
  const answered = Promise.withResolvers<void>();
  const rows = await openRows(() => ({
    async claim(wanted, self) {
      if (wanted.length > 0) {
        claimed.resolve();
        await answered.promise;
      }
      return wanted.map((each) => ({ ...each, holder: self }));
    },
  }));
  const endpoints = new Endpoints({
    ...{ dataDir, log: { info: () => {}, warn: () => {} } },
    shared: new SharedEndpoints(rows),
  });
  await endpoints.start();
  const path = join(dataDir, "services.yaml");
  endpoints.setRegistry(
    "g",
    "files",
    create(RegistrySchema, { name: "files", kind: { case: "file", value: { path } } }),
  );
  const supervisors = () => [...endpoints.registries()].map(({ supervisor }) => supervisor);
  const before = supervisors();
  await claimed.promise;
  const closed = endpoints.close();
  answered.resolve();
  await closed;
  expect(supervisors()[0]).toBe(before[0]);
});

test("while a database doesn't answer, whoever follows doesn't say that what it serves is fresh", async () => {
  const dataDir = await mkdtemp(join(tmpdir(), "sluice-shared-"));
  cleanups.push(() => rm(dataDir, { recursive: true }));
  const key = { service: "orders", namespace: "", group: "", cluster: "" };
  let isAway = false;
  const rows = await openRows((made) => ({
    async claim(wanted, self, ttlMs) {
      if (isAway) throw new Error("the database is away");
      return await made.claim(wanted, self, ttlMs);
    },
  }));
  const wanted = [{ registry: "g/files", info: JSON.stringify({ identity: { version: "1", clusterIdentity: "" } }) }];
  // Another replica, which never says anything again; its time to live is longer than the test.
  await rows.claim(wanted, "other", 3_600_000);
  const snapshot = toBinary(ServiceSnapshotSchema, snapshotOf("orders", ["10.0.0.1"]));
  await rows.write(
    "other",
    [{ registry: "g/files", service: keyText(create(ServiceKeySchema, key)), bytes: snapshot }],
    [],
  );
  const endpoints = new Endpoints({
    ...{ dataDir, log: { info: () => {}, warn: () => {} } },
    shared: new SharedEndpoints(rows),
  });
  cleanups.push(() => endpoints.close());
  await endpoints.start();
  const file = { path: join(dataDir, "services.yaml") };
  endpoints.setRegistry("g", "files", create(RegistrySchema, { name: "files", kind: { case: "file", value: file } }));
  endpoints.setService("g", "a", new Map([["x", create(DiscoverySchema, { registry: "files", service: "orders" })]]));
  const state = () =>
    [...endpoints.registries()].flatMap(({ supervisor }) => supervisor.report(create(ServiceKeySchema, key))?.state)[0];
  await waitFor("what the other found", () => state() === "fresh");
  isAway = true;
  await waitFor("the doubt", () => state() === "stale");
  isAway = false;
  await waitFor("the end of the doubt", () => state() === "fresh");
});
