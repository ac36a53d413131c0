import { Kysely, PostgresDialect, sql } from "kysely";
import pg from "pg";

import type { Backend } from "./backend.ts";
import { boundQueries } from "./bound-queries.ts";
import { messageOf, StoreError } from "./errors.ts";
import { listen } from "./listen.ts";
import { migrate } from "./migrations.ts";
import type { SecretBox } from "./secret-box.ts";
import type { Tables } from "./tables.ts";

/** Writes take turns, so a few connections serve everything. */
const CONNECTIONS_MAX = 5;
const CONNECT_TIMEOUT_MS = 5_000;
const STATEMENT_TIMEOUT_MS = 60_000;
/** Longer than the server lets a statement take: by then it answers no more. */
const ANSWER_TIMEOUT_MS = STATEMENT_TIMEOUT_MS + 5_000;

/** Called when something is wrong that nobody waits for; the message holds no secret. */
export type Warn = (message: string) => void;

/**
 * Opens the store in a PostgreSQL database, making its tables (sluice_…) if there are none. All connection settings are the URL's.
 * @throws StoreError "invalid_url", "unavailable", "newer_schema"
 */
export async function postgresBackend(url: string, secrets: SecretBox, warn: Warn): Promise<Backend> {
  const where = describe(url);
  const settings: pg.ClientConfig = {
    connectionString: url,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    keepAlive: true,
    application_name: "sluice",
    statement_timeout: STATEMENT_TIMEOUT_MS,
    // A replica that hangs in the middle of a write must not keep the others waiting for ever.
    idle_in_transaction_session_timeout: STATEMENT_TIMEOUT_MS,
    // 64-bit integers as numbers: revisions and milliseconds stay far below 2^53.
    types: {
      getTypeParser: ((oid: number, format?: "text" | "binary") =>
        oid === pg.types.builtins.INT8 ? Number : pg.types.getTypeParser(oid, format)) as typeof pg.types.getTypeParser,
    },
  };
  const pool = new pg.Pool({ ...settings, max: CONNECTIONS_MAX });
  // An idle connection that breaks is replaced by the pool; without a listener it would end the process.
  pool.on("error", (error) => warn(`${where}: ${messageOf(error)}`));
  // One that breaks between two statements of a transaction would end it too: its next statement fails, which whoever waits is told.
  pool.on("connect", (client) => {
    client.on("error", () => {});
    boundQueries(client, ANSWER_TIMEOUT_MS);
  });
  const db = new Kysely<Tables>({ dialect: new PostgresDialect({ pool }) });
  const explain = (error: unknown) => postgresError(error, where);
  try {
    await migrate(db, "postgres", where);
  } catch (error) {
    await db.destroy();
    throw explain(error);
  }
  return {
    kind: "postgres",
    db,
    where,
    secrets,
    explain,
    async lock(tx) {
      // The one row of `meta` is what writers queue for.
      await tx.selectFrom("sluice_meta").select("id").where("id", "=", 1).forUpdate().executeTakeFirstOrThrow();
    },
    async announce(tx, revision) {
      await sql`select pg_notify(${CHANNEL}, ${revision.toString()})`.execute(tx);
    },
    async nowMs(run) {
      const answer = sql<{ ms: number }>`select (extract(epoch from clock_timestamp()) * 1000)::bigint as ms`;
      return (await answer.execute(run)).rows[0]?.ms ?? Date.now();
    },
    async hint(tx, topic) {
      await sql`select pg_notify(${HINTS}, ${topic})`.execute(tx);
    },
    followHints: (onHint) => listen({ settings, channel: HINTS, where, warn, onHint }),
    follow: (onHint) => listen({ settings, channel: CHANNEL, where, warn, onHint }),
  };
}

const CHANNEL = "sluice_changes";
/** Of what replicas share besides the model. */
const HINTS = "sluice_hints";

/** The database without the password: "postgres://host:port/name". @throws StoreError "invalid_url" */
function describe(url: string): string {
  if (!URL.canParse(url))
    throw new StoreError("invalid_url", "the store's URL can't be read; it is like postgres://user@host:5432/name");
  const { hostname, port, pathname } = new URL(url);
  return `postgres://${hostname}${port === "" ? "" : `:${port}`}${pathname}`;
}

function postgresError(error: unknown, where: string): unknown {
  if (!(error instanceof Error) || !(error instanceof pg.DatabaseError || isConnectionError(error))) return error;
  return new StoreError("unavailable", `${where}: ${messageOf(error)}`, { cause: error });
}

/** Node's network errors have a code; the driver's own have only their message. */
const isConnectionError = (error: Error) =>
  error instanceof AggregateError || "code" in error || /connection|timeout|Client/i.test(error.message);
