import { randomUUID } from "node:crypto";

import { type Kysely, sql, type Transaction } from "kysely";

import { StoreError } from "./errors.ts";
import type { Tables } from "./tables.ts";

/** A database that the store runs on. */
export type StoreKind = "sqlite" | "postgres";

type Migration = (db: Transaction<Tables>, kind: StoreKind) => Promise<void>;

/** Every step of the schema, in order. A step that was released never changes; a new one is added at the end. */
const migrations: readonly Migration[] = [
  async (db, kind) => {
    const binary = kind === "sqlite" ? sql`blob` : sql`bytea`;
    // Names compare by code point on both, so that both list in the same order.
    const text = kind === "sqlite" ? sql`text` : sql`text collate "C"`;
    await db.schema
      .createTable("sluice_objects")
      .addColumn("kind", text, (column) => column.notNull())
      .addColumn("gateway_group", text, (column) => column.notNull())
      .addColumn("name", text, (column) => column.notNull())
      .addColumn("revision", "bigint", (column) => column.notNull())
      .addColumn("create_time", "bigint", (column) => column.notNull())
      .addColumn("update_time", "bigint", (column) => column.notNull())
      .addColumn("bytes", binary, (column) => column.notNull())
      .addPrimaryKeyConstraint("sluice_objects_key", ["kind", "gateway_group", "name"])
      .execute();
    await db.schema
      .createTable("sluice_changes")
      .addColumn("revision", "bigint", (column) => column.notNull())
      .addColumn("seq", "integer", (column) => column.notNull())
      .addColumn("time", "bigint", (column) => column.notNull())
      .addColumn("actor", text, (column) => column.notNull())
      .addColumn("kind", text, (column) => column.notNull())
      .addColumn("gateway_group", text, (column) => column.notNull())
      .addColumn("name", text, (column) => column.notNull())
      .addColumn("before", binary)
      .addColumn("after", binary)
      .addPrimaryKeyConstraint("sluice_changes_key", ["revision", "seq"])
      .execute();
    await db.schema
      .createIndex("sluice_changes_group")
      .on("sluice_changes")
      .columns(["gateway_group", "revision"])
      .execute();
    await db.schema
      .createTable("sluice_meta")
      .addColumn("id", "integer", (column) => column.primaryKey())
      .addColumn("revision", "bigint", (column) => column.notNull())
      .addColumn("store_id", text, (column) => column.notNull())
      .execute();
    await db.insertInto("sluice_meta").values({ id: 1, revision: 0, store_id: randomUUID() }).execute();
  },
  async (db, kind) => {
    await db.schema
      .createTable("sluice_leases")
      .addColumn("key", kind === "sqlite" ? sql`text` : sql`text collate "C"`, (column) => column.primaryKey())
      .addColumn("version", "bigint", (column) => column.notNull())
      .addColumn("ttl", "bigint", (column) => column.notNull())
      .addColumn("renew_time", "bigint", (column) => column.notNull())
      .addColumn("bytes", kind === "sqlite" ? sql`blob` : sql`bytea`, (column) => column.notNull())
      .execute();
    await db.schema
      .createTable("sluice_watchers")
      .addColumn("registry", "text", (column) => column.primaryKey())
      .addColumn("holder", "text", (column) => column.notNull())
      .addColumn("expire_time", "bigint", (column) => column.notNull())
      .addColumn("info", "text", (column) => column.notNull())
      .execute();
    await db.schema
      .createTable("sluice_endpoints")
      .addColumn("registry", "text", (column) => column.notNull())
      .addColumn("service", "text", (column) => column.notNull())
      .addColumn("chunk", "integer", (column) => column.notNull())
      .addColumn("version", "bigint", (column) => column.notNull())
      .addColumn("bytes", kind === "sqlite" ? sql`blob` : sql`bytea`, (column) => column.notNull())
      .addPrimaryKeyConstraint("sluice_endpoints_key", ["registry", "service", "chunk"])
      .execute();
  },
  async (db, kind) => {
    await db.schema
      .createTable("sluice_replicas")
      .addColumn("replica", "text", (column) => column.primaryKey())
      .addColumn("expire_time", "bigint", (column) => column.notNull())
      .execute();
    await db.schema
      .createTable("sluice_peer_messages")
      .addColumn("id", "text", (column) => column.notNull())
      .addColumn("sender", "text", (column) => column.notNull())
      .addColumn("chunk", "integer", (column) => column.notNull())
      .addColumn("method", "text", (column) => column.notNull())
      .addColumn("time", "bigint", (column) => column.notNull())
      .addColumn("bytes", kind === "sqlite" ? sql`blob` : sql`bytea`)
      .addPrimaryKeyConstraint("sluice_peer_messages_key", ["id", "sender", "chunk"])
      .execute();
    await db.schema
      .createTable("sluice_trials")
      .addColumn("gateway_group", "text", (column) => column.primaryKey())
      .addColumn("state", "text", (column) => column.notNull())
      .addColumn("holder", "text", (column) => column.notNull())
      .addColumn("node", "text", (column) => column.notNull())
      .addColumn("first_revision", "bigint", (column) => column.notNull())
      .addColumn("last_revision", "bigint", (column) => column.notNull())
      .addColumn("why", "text", (column) => column.notNull())
      .execute();
    await db.schema
      .createTable("sluice_held")
      .addColumn("gateway_group", "text", (column) => column.notNull())
      .addColumn("type_url", "text", (column) => column.notNull())
      .addColumn("name", "text", (column) => column.notNull())
      .addColumn("bytes", kind === "sqlite" ? sql`blob` : sql`bytea`)
      .addPrimaryKeyConstraint("sluice_held_key", ["gateway_group", "type_url", "name"])
      .execute();
  },
];

/** Any number; replicas that start together take turns on it. */
const MIGRATION_LOCK = 0x536c756963;

/**
 * Brings the schema up to this program's version, in one transaction.
 * @param where names the database in errors.
 * @throws StoreError "newer_schema" if a newer version of Sluice has been here.
 */
export async function migrate(db: Kysely<Tables>, kind: StoreKind, where: string): Promise<void> {
  await db.transaction().execute(async (tx) => {
    if (kind === "postgres") await sql`select pg_advisory_xact_lock(${MIGRATION_LOCK})`.execute(tx);
    await tx.schema
      .createTable("sluice_migrations")
      .ifNotExists()
      .addColumn("version", "integer", (column) => column.primaryKey())
      .addColumn("time", "bigint", (column) => column.notNull())
      .execute();
    const { version } = await tx
      .selectFrom("sluice_migrations")
      .select((eb) => eb.fn.coalesce(eb.fn.max("version"), sql<number>`0`).as("version"))
      .executeTakeFirstOrThrow();
    if (version > migrations.length) {
      throw new StoreError(
        "newer_schema",
        `${where} has schema version ${version}, made by a newer Sluice; this one knows ${migrations.length}: upgrade Sluice`,
      );
    }
    for (const [at, step] of migrations.entries()) {
      if (at < version) continue;
      await step(tx, kind);
      await tx
        .insertInto("sluice_migrations")
        .values({ version: at + 1, time: Date.now() })
        .execute();
    }
  });
}
