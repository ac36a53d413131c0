/** What every store does, on both databases. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { create } from "@bufbuild/protobuf";
import { Client } from "pg";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";

import { ServiceSchema } from "#sluice/model/v1/service_pb.ts";

import { startPostgres, type TestPostgres } from "../../test/support/postgres.ts";
import { waitFor } from "../../test/support/wait.ts";
import { keyOf, type ObjectKey, type StoredObject } from "../model/objects.ts";
import { StoreError } from "./errors.ts";
import { openStore, type StoreLocation } from "./open.ts";
import { TRANSACTIONS_MIN } from "./retention.ts";
import type { Store } from "./store.ts";

let postgres: TestPostgres;
beforeAll(async () => {
  postgres = await startPostgres();
});
afterAll(() => postgres.stop());

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function emptyPlace(kind: "sqlite" | "postgres"): Promise<StoreLocation> {
  const dataDir = await mkdtemp(join(tmpdir(), "sluice-store-"));
  cleanups.push(() => rm(dataDir, { recursive: true }));
  return kind === "sqlite" ? { dataDir } : { dataDir, url: await postgres.createDatabase() };
}

async function open(location: StoreLocation): Promise<Store> {
  const store = await openStore(location, { warn: () => {} });
  cleanups.push(() => store.close());
  return store;
}

const services = async (store: Store) =>
  (await store.snapshot()).objects.flatMap(({ kind, value }) => (kind === "service" ? [value] : []));

const service = (name: string, description = "", gatewayGroup = "default"): StoredObject => ({
  kind: "service",
  value: create(ServiceSchema, { name, gatewayGroup, description }),
});
const put =
  (...puts: StoredObject[]) =>
  () => ({ writes: { puts, deletes: [] }, result: undefined });
const remove =
  (...deletes: ObjectKey[]) =>
  () => ({ writes: { puts: [], deletes }, result: undefined });
const by = { actor: "test" };

describe.each(["sqlite", "postgres"] as const)("%s", (kind) => {
  test("starts with the default gateway group, once", async () => {
    const place = await emptyPlace(kind);
    const first = await open(place);
    expect(first.kind).toBe(kind);
    expect(await first.revision()).toBe(1n);
    expect([...first.state.gatewayGroups()].map((group) => group.name)).toEqual(["default"]);
    await first.write(by, remove({ kind: "gatewayGroup", gatewayGroup: "default", name: "default" }));
    await first.close();

    const again = await open(place);
    expect(again.id).toBe(first.id);
    expect([...again.state.gatewayGroups()]).toEqual([]);
    expect(await again.revision()).toBe(2n);
  });

  test("a write is one revision, and what was written is there after a restart", async () => {
    const place = await emptyPlace(kind);
    const store = await open(place);
    const made = await store.write(by, put(service("a", "one"), service("b")));
    expect(made.revision).toBe(2n);
    const changed = await store.write(by, put(service("a", "two")));
    expect(changed.revision).toBe(3n);
    await store.write(by, remove(keyOf(service("b"))));
    const before = store.state.find(keyOf(service("a")));
    await store.close();

    const again = await open(place);
    expect(await again.revision()).toBe(4n);
    expect(again.state.find(keyOf(service("a")))).toEqual(before);
    expect(before?.metadata.revision).toBe(3n);
    expect(before?.metadata.createTime).toEqual(made.transaction?.time);
    expect(before?.metadata.updateTime).toEqual(changed.transaction?.time);
    expect((await services(again)).map(({ name, description }) => [name, description])).toEqual([["a", "two"]]);
    expect(again.state.lastChangeTime).toEqual(store.state.lastChangeTime);
  });

  test("nothing to write is no revision, and a dry run writes nothing", async () => {
    const store = await open(await emptyPlace(kind));
    const nothing = await store.write(by, () => ({ writes: { puts: [], deletes: [] }, result: "seen" }));
    expect(nothing).toEqual({ result: "seen", revision: 1n, transaction: undefined });
    const dry = await store.write({ ...by, dryRun: true }, put(service("a")));
    expect(dry.revision).toBe(1n);
    expect(store.state.member("service", "default", "a")).toBeUndefined();
  });

  test("a refusal reaches the caller as it is and leaves no trace", async () => {
    const store = await open(await emptyPlace(kind));
    const refusal = new TypeError("no");
    const refused = store.write(by, () => {
      throw refusal;
    });
    await expect(refused).rejects.toBe(refusal);
    expect((await store.write(by, put(service("a")))).revision).toBe(2n);
  });

  test("transactions are read forwards and backwards, and by group", async () => {
    const place = await emptyPlace(kind);
    const store = await open(place);
    await store.write(by, put(service("a"), service("x", "", "other")));
    await store.write({ actor: "eve" }, put(service("a", "changed")));
    await store.write(by, remove(keyOf(service("a"))));
    await store.close();
    // Nothing is in memory now.
    const again = await open(place);
    const after = await again.transactionsAfter(1n, 10);
    expect(after.map(({ revision, actor }) => [revision, actor])).toEqual([
      [2n, "test"],
      [3n, "eve"],
      [4n, "test"],
    ]);
    expect(after[1]?.changes[0]?.before?.value.description).toBe("");
    expect(after[1]?.changes[0]?.after?.value.description).toBe("changed");
    expect(after[2]?.changes[0]?.after).toBeUndefined();
    expect((await again.transactionsAfter(1n, 2)).map(({ revision }) => revision)).toEqual([2n, 3n]);
    expect(await again.transactionsAfter(4n, 10)).toEqual([]);
    await expect(again.transactionsAfter(5n, 10)).rejects.toMatchObject({ reason: "out_of_range" });

    const past = await again.transactionsBefore({ limit: 2 });
    expect(past.map(({ revision }) => revision)).toEqual([4n, 3n]);
    const older = await again.transactionsBefore({ before: 3n, limit: 2 });
    expect(older.map(({ revision }) => revision)).toEqual([2n, 1n]);
    const other = await again.transactionsBefore({ gatewayGroup: "other", limit: 10 });
    expect(other.map(({ revision, changes }) => [revision, changes.map(({ key }) => key.name)])).toEqual([[2n, ["x"]]]);
  });

  test("writes that come at once take turns, each on the state that the last one left", async () => {
    const store = await open(await emptyPlace(kind));
    const revisions: bigint[] = [];
    store.subscribe((revision) => revisions.push(revision));
    await Promise.all(
      Array.from({ length: 20 }, () =>
        store.write(by, (state) => {
          const count = Number(state.member("service", "default", "counter")?.description ?? "0");
          return { writes: { puts: [service("counter", String(count + 1))], deletes: [] }, result: undefined };
        }),
      ),
    );
    expect(store.state.member("service", "default", "counter")?.description).toBe("20");
    expect(revisions).toEqual(Array.from({ length: 20 }, (_, at) => BigInt(at + 2)));
  });

  test("thousands of objects fit in one write", async () => {
    const place = await emptyPlace(kind);
    const store = await open(place);
    await store.write(by, put(...Array.from({ length: 3_000 }, (_, at) => service(`s${at}`))));
    await store.close();
    const again = await open(place);
    expect(await services(again)).toHaveLength(3_000);
    expect((await again.transactionsAfter(1n, 10))[0]?.changes).toHaveLength(3_000);
  });

  test("a schema from the future is refused by name", async () => {
    const place = await emptyPlace(kind);
    const store = await open(place);
    await store.close();
    await alter(place, "insert into sluice_migrations (version, time) values (99, 0)");
    await expect(openStore(place, { warn: () => {} })).rejects.toMatchObject({
      reason: "newer_schema",
      message: expect.stringMatching(/(sluice\.db|postgres:\/\/127).*schema version 99.*upgrade/),
    });
  });

  test("an object that can't be read is an error that names the store and the object", async () => {
    const place = await emptyPlace(kind);
    const store = await open(place);
    await store.write(by, put(service("broken")));
    await store.close();
    await alter(place, "update sluice_objects set bytes = 'ÿÿ' where name = 'broken'");
    await expect(openStore(place, { warn: () => {} })).rejects.toMatchObject({
      reason: "corrupt",
      message: expect.stringMatching(/(sluice\.db|postgres:\/\/127).* is damaged: service default\/broken/),
    });
  });
});

describe.each(["sqlite", "postgres"] as const)("the history on %s", (kind) => {
  const writes = TRANSACTIONS_MIN + 20;

  test.each([
    ["number", { transactionsMax: 10, ageMsMax: 3_600_000 }],
    ["age", { transactionsMax: 1_000_000, ageMsMax: 0 }],
  ])("is bounded by its %s, and the newest transactions stay", async (_, retention) => {
    const place = await emptyPlace(kind);
    const first = await open(place);
    for (let at = 0; at < writes; at++) await first.write(by, put(service("a", String(at))));
    await first.close();

    const again = await open({ ...place, retention });
    // The first revision is that of the seed.
    const newest = BigInt(writes + 1);
    const oldest = newest - BigInt(TRANSACTIONS_MIN);
    await waitFor("the old changes to be gone", () =>
      again.transactionsAfter(oldest - 1n, 1).then(
        () => false,
        (error: unknown) => error instanceof StoreError && error.reason === "out_of_range",
      ),
    );
    expect((await again.transactionsAfter(oldest, 1_000)).length).toBe(TRANSACTIONS_MIN);
    const past = await again.transactionsBefore({ limit: 1_000 });
    expect(past.map(({ revision }) => revision).at(-1)).toBe(oldest + 1n);
    expect(again.state.member("service", "default", "a")?.description).toBe(String(writes - 1));
    expect((await again.write(by, put(service("b")))).revision).toBe(newest + 1n);
  });
});

describe("replicas on one PostgreSQL", () => {
  test("one that is further behind than history is kept reads everything anew", async () => {
    const place = await emptyPlace("postgres");
    const store = await open(place);
    await store.write(by, put(service("a"), service("b")));
    const revisions: bigint[] = [];
    store.subscribe((revision) => revisions.push(revision));
    // What a replica finds after a standstill: 500 transactions, of which the last is kept. It took out the service "a".
    const others = new Client(place.url);
    await others.connect();
    await others.query("begin");
    await others.query("delete from sluice_objects where kind = 'service' and name = 'a'");
    await others.query(
      "insert into sluice_changes (revision, seq, time, actor, kind, gateway_group, name) values (502, 0, 0, 'x', 'service', 'default', 'a')",
    );
    await others.query("update sluice_meta set revision = 502");
    await others.query("commit");
    await others.end();

    expect((await store.write(by, put(service("c")))).revision).toBe(503n);
    expect((await services(store)).map(({ name }) => name)).toEqual(["b", "c"]);
    expect(revisions).toEqual([502n, 503n]);
    await expect(store.transactionsAfter(2n, 10)).rejects.toMatchObject({ reason: "out_of_range" });
    expect((await store.transactionsAfter(502n, 10)).map(({ revision }) => revision)).toEqual([503n]);
  });

  test("follow each other's writes, also after their connections broke", async () => {
    const place = await emptyPlace("postgres");
    const one = await open(place);
    const two = await open(place);
    const seen: bigint[] = [];
    two.subscribe((revision) => seen.push(revision));
    await one.write(by, put(service("a")));
    await waitFor("the write of the other", () => two.state.member("service", "default", "a"));

    await postgres.breakConnections(place.url ?? "");
    await waitFor("the pool to recover", async () => {
      await one.write(by, put(service("b")));
      return true;
    });
    await waitFor("the write after the gap", () => two.state.member("service", "default", "b"));
    expect(seen).toEqual(seen.map((_, at) => BigInt(at + 2)));
  });

  test("never lose each other's writes", async () => {
    const place = await emptyPlace("postgres");
    const stores = [await open(place), await open(place)];
    await Promise.all(
      stores.flatMap((store) =>
        Array.from({ length: 15 }, () =>
          store.write(by, (state) => {
            const count = Number(state.member("service", "default", "counter")?.description ?? "0");
            return { writes: { puts: [service("counter", String(count + 1))], deletes: [] }, result: undefined };
          }),
        ),
      ),
    );
    for (const store of stores) {
      await waitFor("all writes", () => store.state.member("service", "default", "counter")?.description === "30");
      expect(await store.revision()).toBe(31n);
    }
  });

  test("a server that is not there is a clear error without the password", async () => {
    const { dataDir } = await emptyPlace("sqlite");
    const error = await openStore({ dataDir, url: "postgres://u:geheim@127.0.0.1:1/x" }, { warn: () => {} }).catch(
      String,
    );
    expect(error).toMatch(/postgres:\/\/127\.0\.0\.1:1\/x: .*ECONNREFUSED/);
    expect(error).not.toContain("geheim");
  });

  test("a URL of another kind is refused", async () => {
    const { dataDir } = await emptyPlace("sqlite");
    await expect(openStore({ dataDir, url: "mysql://x" }, { warn: () => {} })).rejects.toMatchObject({
      reason: "invalid_url",
    });
  });
});

/** Changes a closed store by hand. */
async function alter(place: StoreLocation, statement: string): Promise<void> {
  if (place.url === undefined) {
    const { DatabaseSync } = await import("node:sqlite");
    const db = new DatabaseSync(join(place.dataDir, "sluice.db"));
    db.exec(statement);
    db.close();
    return;
  }
  const { default: pg } = await import("pg");
  const client = new pg.Client({ connectionString: place.url });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}
