import { setImmediate } from "node:timers/promises";

import { sql } from "kysely";
import { afterAll, beforeAll, expect, test } from "vitest";

import { startPostgres, type TestPostgres } from "../../test/support/postgres.ts";
import { postgresBackend } from "./postgres.ts";
import { SecretBox } from "./secret-box.ts";

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
  await expect(broken).rejects.toThrow(/terminat|not queryable|connection/i);
  expect(await backend.nowMs(db)).toBeGreaterThan(0);
  await db.destroy();
});
