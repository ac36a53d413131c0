/** Reported instances over restarts, on SQLite, and between replicas, on PostgreSQL. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { create } from "@bufbuild/protobuf";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";

import { EndpointSchema } from "#sluice/discovery/v1/snapshot_pb.ts";

import type { Lease } from "../../discovery/leases/lease.ts";
import { LeaseTable } from "../../discovery/leases/table.ts";
import { serviceKey } from "../../discovery/testing/scripted-source.ts";
import { startPostgres, type TestPostgres } from "../../test/support/postgres.ts";
import { waitFor } from "../../test/support/wait.ts";
import { openStore } from "../store/open.ts";
import { LeaseJournal, type LeaseRows } from "./lease-journal.ts";

let postgres: TestPostgres;
let dir: string;
const cleanups: (() => Promise<void>)[] = [];

beforeAll(async () => {
  postgres = await startPostgres();
  dir = await mkdtemp(join(tmpdir(), "sluice-leases-"));
});

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

afterAll(async () => {
  await postgres?.stop();
  await rm(dir, { recursive: true });
});

const place = { gatewayGroup: "default", registry: "own" };
/** Long enough for a machine that stands still now and then, and a test has to outlast it. */
const SHORT_MS = 6_000;
const lease = (id: string, ttlMs = 60_000, address = "10.0.0.1"): Lease => ({
  ...{ service: serviceKey("orders"), id, ttlMs },
  endpoint: create(EndpointSchema, { address, port: 80 }),
});

/** The table of one control plane, as long as it runs. @param hooks stand before the rows of the database */
async function start(url?: string, hooks: (rows: LeaseRows, table: LeaseTable) => Partial<LeaseRows> = () => ({})) {
  const warnings: string[] = [];
  const store = await openStore({ dataDir: dir, url }, { warn: (message) => warnings.push(message) });
  const table = new LeaseTable();
  const { leases } = store;
  const rows: LeaseRows = {
    isShared: leases.isShared,
    index: () => leases.index(),
    read: (keys) => leases.read(keys),
    write: (...changes) => leases.write(...changes),
    renewAll: () => leases.renewAll(),
    expire: () => leases.expire(),
    follow: (onChange) => leases.follow(onChange),
  };
  const journal = new LeaseJournal(table, { ...rows, ...hooks(rows, table) }, (message) => warnings.push(message));
  await journal.start();
  let open = true;
  const stop = async () => {
    if (!open) return;
    open = false;
    await journal.close();
    table.close();
    await store.close();
  };
  cleanups.push(stop);
  const seen = () =>
    table
      .instances(place, serviceKey("orders"))
      .map(({ id, endpoint }) => `${id}@${endpoint.address}`)
      .sort()
      .join();
  return { table, journal, stop, seen, warnings };
}

test("what was reported is there after a restart; what left isn't", async () => {
  const first = await start();
  first.table.report(place, [lease("a"), lease("b")]);
  first.table.report(place, [lease("a", 60_000, "10.0.0.2")]);
  first.table.leave(place, [lease("b")]);
  await first.stop();
  const second = await start();
  expect(second.seen()).toBe("a@10.0.0.2");
  second.table.leave(place, [lease("a")]);
  await second.stop();
  expect((await start()).seen()).toBe("");
});

test("replicas see what is reported to any of them, renew it for each other, and end it by one clock", async () => {
  const url = await postgres.createDatabase();
  const one = await start(url);
  const two = await start(url);
  const short = lease("short", SHORT_MS);
  one.table.report(place, [lease("a"), short]);
  await waitFor("the report at the other", () => two.seen() === "a@10.0.0.1,short@10.0.0.1");
  // From now on heartbeats that only the other one hears.
  const unknown: unknown[] = [];
  const beats = setInterval(() => unknown.push(...two.table.renew(place, [short]).unknown), 100);
  try {
    two.table.report(place, [lease("a", 60_000, "10.0.0.2")]);
    await waitFor("the newer report at the first", () => one.seen() === "a@10.0.0.2,short@10.0.0.1");
    await sleep(1.5 * SHORT_MS);
  } finally {
    clearInterval(beats);
  }
  expect(unknown).toEqual([]);
  expect(one.seen()).toBe("a@10.0.0.2,short@10.0.0.1");
  await waitFor("the end of what isn't heard of", () => one.seen() === "a@10.0.0.2" && two.seen() === "a@10.0.0.2");

  one.table.leave(place, [lease("a")]);
  await waitFor("the leave at the other", () => two.seen() === "");
});

test("what leaves or changes at one replica does so at another that has just heard its heartbeat", async () => {
  const url = await postgres.createDatabase();
  const one = await start(url);
  // A heartbeat comes whenever rows are read.
  const two = await start(url, (rows, table) => ({
    async index() {
      table.renew(place, [lease("a"), lease("b")]);
      return await rows.index();
    },
  }));
  one.table.report(place, [lease("a"), lease("b")]);
  await waitFor("the report at the other", () => two.seen() === "a@10.0.0.1,b@10.0.0.1");
  one.table.report(place, [lease("b", 60_000, "10.0.0.2")]);
  await waitFor("the newer report at the other", () => two.seen() === "a@10.0.0.1,b@10.0.0.2");
  one.table.leave(place, [lease("a")]);
  await waitFor("the leave at the other", () => two.seen() === "b@10.0.0.2");
});

test("what has left doesn't come back by rows that were read before that was written", async () => {
  const url = await postgres.createDatabase();
  const written = Promise.withResolvers<void>();
  let left: string[] | undefined;
  const one = await start(url, (rows, table) => ({
    async read(keys) {
      const read = await rows.read(keys);
      if (read.length > 0 && left === undefined) {
        left = [];
        table.leave(place, [lease("a")]);
        // Long enough for the write, if that doesn't wait for this.
        await Promise.race([written.promise, sleep(1_000)]);
      }
      return read;
    },
    async write(puts, renewed, gone) {
      await rows.write(puts, renewed, gone);
      if (gone.length > 0) written.resolve();
    },
  }));
  one.table.watch(place, serviceKey("orders"), () => left?.push(one.seen()));
  one.table.report(place, [lease("a")]);
  await written.promise;
  const two = await start(url);
  one.table.report(place, [lease("b")]);
  await waitFor("what comes after at another", () => two.seen() === "b@10.0.0.1");
  expect(left?.filter((seen) => seen.includes("a@"))).toEqual([]);
});

test("a database that breaks loses nothing and ends nothing", async () => {
  const url = await postgres.createDatabase();
  const one = await start(url);
  one.table.report(place, [lease("a", 60_000)]);
  await postgres.breakConnections(url);
  one.table.report(place, [lease("b", 60_000)]);
  const two = await start(url);
  await waitFor("both at the other", () => two.seen() === "a@10.0.0.1,b@10.0.0.1");
  expect(one.seen()).toBe("a@10.0.0.1,b@10.0.0.1");
});

test("who reports to a database that fails is told so, once it is sure; it holds, and is written when that can be", async () => {
  let isAway = true;
  const writes: string[][] = [];
  const one = await start(undefined, (rows) => ({
    async write(puts, renewed, gone) {
      if (isAway) throw new Error("the disk is full");
      await rows.write(puts, renewed, gone);
      writes.push([...puts.map(({ key }) => key), ...gone]);
    },
  }));
  one.table.report(place, [lease("kept")]);
  await expect(one.journal.kept()).rejects.toThrow("the disk is full");
  one.table.report(place, [lease("kept")]);
  await expect(one.journal.kept()).rejects.toThrow("the disk is full");
  expect(one.seen()).toContain("kept@");
  isAway = false;
  await one.journal.kept();
  expect(writes).toHaveLength(1);
  expect(one.warnings).toEqual(["reported instances can't be kept: the disk is full; trying again"]);
  one.table.leave(place, [lease("kept")]);
  await Promise.all([one.journal.kept(), one.journal.kept()]);
  expect(writes).toHaveLength(2);
});

test("while a database hangs, one write waits behind the one that hangs, however often it is asked for", async () => {
  const hanging = Promise.withResolvers<void>();
  let begun = 0;
  const one = await start(undefined, (rows) => ({
    async write(...changes) {
      begun++;
      await hanging.promise;
      await rows.write(...changes);
    },
  }));
  one.table.report(place, [lease("slow")]);
  await waitFor("the write to begin", () => begun === 1);
  one.table.leave(place, [lease("slow")]);
  const first = one.journal.kept();
  await sleep(100);
  expect(one.journal.kept()).toBe(first);
  hanging.resolve();
  await first;
  expect(begun).toBe(2);
});
