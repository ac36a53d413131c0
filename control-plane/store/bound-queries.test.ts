/** Statements that a real PostgreSQL doesn't answer. */
import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";

import { relayTo } from "../../test/support/hanging-relay.ts";
import { startPostgres, type TestPostgres } from "../../test/support/postgres.ts";
import { boundQueries } from "./bound-queries.ts";

let postgres: TestPostgres;
beforeAll(async () => {
  postgres = await startPostgres();
});
afterAll(() => postgres.stop());

test("a statement without an answer fails, and what comes after it goes over another connection", async () => {
  const relay = await relayTo(await postgres.createDatabase());
  const pool = new pg.Pool({ connectionString: relay.url, max: 1 });
  pool.on("connect", (client) => {
    client.on("error", () => {});
    boundQueries(client, 2_000);
  });
  try {
    const client = await pool.connect();
    await client.query("begin");
    relay.hang();
    const [begun, rolledBack] = await Promise.allSettled([client.query("select 1"), client.query("rollback")]);
    expect(begun).toMatchObject({ reason: { message: "no answer within 2 s", code: "ETIMEDOUT" } });
    expect(rolledBack.status).toBe("rejected");
    client.release();
    expect((await pool.query("select 2 as two")).rows).toEqual([{ two: 2 }]);
  } finally {
    relay.close();
    await pool.end();
  }
});
