import { setImmediate } from "node:timers/promises";

import { create } from "@bufbuild/protobuf";
import { type KyselyPlugin, sql } from "kysely";
import { afterAll, beforeAll, expect, test } from "vitest";

import { ServiceSchema } from "#sluice/model/v1/service_pb.ts";

import { startPostgres, type TestPostgres } from "../../test/support/postgres.ts";
import { openStore } from "./open.ts";
import { postgresBackend } from "./postgres.ts";
import { SecretBox } from "./secret-box.ts";
import { SqlStore } from "./sql-store.ts";

let postgres: TestPostgres;
beforeAll(async () => {
  postgres = await startPostgres();
});
afterAll(() => postgres.stop());

test("a connection that breaks between two statements fails the transaction, and nothing else", async () => {
  const url = await postgres.createDatabase();
  const backend = await postgresBackend(url, new SecretBox(), () => {});
  const { db } = backend;
  const broken = db.transaction().execute(async (tx) => {
    await sql`select 1`.execute(tx);
    await postgres.breakConnections(url);
    // The driver hears of it between two statements, or in one of them.
    await setImmediate();
    for (;;) await sql`select 1`.execute(tx);
  });
  // The network's own words where a statement was on its way when the server's process ended.
  await expect(broken).rejects.toThrow(/terminat|not queryable|connection|ECONNRESET|EPIPE/i);
  expect(await backend.nowMs(db)).toBeGreaterThan(0);
  await db.destroy();
});

test("what other replicas wrote, and two ways bring at once, is taken once, and not by reading everything anew", async () => {
  const url = await postgres.createDatabase();
  const other = await openStore({ dataDir: "", url }, { warn: () => {} });
  const backend = await postgresBackend(url, new SecretBox(), () => {});
  let lists = 0;
  const counting: KyselyPlugin = {
    transformQuery: ({ node }) => {
      if (node.kind === "SelectQueryNode" && JSON.stringify(node.from).includes('"sluice_objects"')) lists++;
      return node;
    },
    transformResult: async ({ result }) => {
      // Neither way goes on before both know that there is something to read.
      const isRevision = Object.keys(result.rows[0] ?? {}).join() === "revision";
      if (isRevision && asked !== undefined && ++asked === 2) bothAsked.resolve();
      if (isRevision && asked !== undefined) await bothAsked.promise;
      return result;
    },
  };
  const bothAsked = Promise.withResolvers<void>();
  let asked: number | undefined;
  let catchUp = async () => {};
  const follow = (onHint: () => Promise<void>) => {
    catchUp = onHint;
    return async () => {};
  };
  const store = await SqlStore.open({ ...backend, db: backend.db.withPlugin(counting), follow }, { warn: () => {} });
  expect(lists).toBe(1);
  const value = create(ServiceSchema, { name: "a", gatewayGroup: "default" });
  await other.write({ actor: "test" }, () => ({
    ...{ writes: { puts: [{ kind: "service", value }], deletes: [] }, result: undefined },
  }));
  asked = 0;
  await Promise.all([catchUp(), catchUp()]);
  expect([store.state.revision, lists]).toEqual([other.state.revision, 1]);
  await store.close();
  await other.close();
});
