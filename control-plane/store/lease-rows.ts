import { type Kysely, sql } from "kysely";

import { type Backend, explained, inTransaction } from "./backend.ts";
import type { Tables } from "./tables.ts";

/** Rows per statement: databases bound the number of parameters. */
const ROWS_PER_STATEMENT = 200;

const TOPIC = "leases";

/** A lease as it lies in the database. */
export interface LeaseRow {
  readonly key: string;
  readonly ttlMs: number;
  /** The lease's protobuf message. */
  readonly bytes: Uint8Array;
}

/** Instances that programs reported, kept for the next start and, in PostgreSQL, for other replicas. */
export class LeaseRows {
  readonly #backend: Backend;

  constructor(backend: Backend) {
    this.#backend = backend;
  }

  /** Whether other replicas read and write the same rows. */
  get isShared(): boolean {
    return this.#backend.kind === "postgres";
  }

  /** The version of each lease: another one after each put. @throws StoreError */
  async index(): Promise<ReadonlyMap<string, number>> {
    return await explained(this.#backend, async (db) => {
      const rows = await db.selectFrom("sluice_leases").select(["key", "version"]).execute();
      return new Map(rows.map(({ key, version }) => [key, version]));
    });
  }

  /** Some leases. @throws StoreError */
  async read(keys: readonly string[]): Promise<readonly LeaseRow[]> {
    return await explained(this.#backend, async (db) => {
      const rows: LeaseRow[] = [];
      for (const some of pages(keys)) {
        const found = await db.selectFrom("sluice_leases").selectAll().where("key", "in", some).execute();
        rows.push(...found.map(({ key, ttl, bytes }) => ({ key, ttlMs: ttl, bytes })));
      }
      return rows;
    });
  }

  /** Writes what changed, in one transaction, and tells other replicas of what came and went. @throws StoreError */
  async write(puts: readonly LeaseRow[], renewed: readonly string[], gone: readonly string[]): Promise<void> {
    await inTransaction(this.#backend, async (tx) => {
      await this.#lock(tx, [...puts.map(({ key }) => key), ...renewed, ...gone]);
      const renew_time = await this.#backend.nowMs(tx);
      // By key, like the rows that are there, since others may make the same ones.
      for (const some of pages(puts.toSorted((a, b) => (a.key < b.key ? -1 : 1)))) {
        const version = renew_time;
        await tx
          .insertInto("sluice_leases")
          .values(some.map(({ key, ttlMs, bytes }) => ({ key, ttl: ttlMs, bytes, renew_time, version })))
          .onConflict((conflict) =>
            conflict.column("key").doUpdateSet((eb) => ({
              ttl: eb.ref("excluded.ttl"),
              bytes: eb.ref("excluded.bytes"),
              renew_time: eb.ref("excluded.renew_time"),
              version: eb("sluice_leases.version", "+", 1),
            })),
          )
          .execute();
      }
      for (const some of pages(renewed)) {
        await tx.updateTable("sluice_leases").set({ renew_time }).where("key", "in", some).execute();
      }
      for (const some of pages(gone)) {
        await tx.deleteFrom("sluice_leases").where("key", "in", some).execute();
      }
      if (puts.length + gone.length > 0) await this.#backend.hint(tx, TOPIC);
    });
  }

  /** Begins every lease's time to live anew, after a time in which nobody could renew it. @throws StoreError */
  async renewAll(): Promise<void> {
    await inTransaction(this.#backend, async (tx) => {
      await this.#lock(tx);
      await tx
        .updateTable("sluice_leases")
        .set({ renew_time: await this.#backend.nowMs(tx) })
        .execute();
    });
  }

  /** Ends leases that nobody renewed in time, by the database's clock. @throws StoreError */
  async expire(): Promise<void> {
    await inTransaction(this.#backend, async (tx) => {
      const { rows } = await sql`
        delete from sluice_leases where key in (
          select key from sluice_leases where renew_time + ttl < ${await this.#backend.nowMs(tx)} for update skip locked
        ) returning key`.execute(tx);
      if (rows.length > 0) await this.#backend.hint(tx, TOPIC);
    });
  }

  /** Takes rows in one order, whatever is done to them then: replicas that write the same ones wait for each other, but never in a circle. */
  async #lock(tx: Kysely<Tables>, keys?: readonly string[]): Promise<void> {
    if (!this.isShared) return;
    const rows = tx.selectFrom("sluice_leases").select("key").orderBy("key").forUpdate();
    if (keys === undefined) await rows.execute();
    else for (const some of pages(keys.toSorted())) await rows.where("key", "in", some).execute();
  }

  /** Calls `onChange` whenever another replica may have written. Returns how to stop. */
  follow(onChange: () => Promise<void>): () => Promise<void> {
    return this.#backend.followHints(async (topics) => {
      if (topics.size === 0 || topics.has(TOPIC)) await explained(this.#backend, onChange);
    });
  }
}

function* pages<Item>(items: readonly Item[]): Iterable<Item[]> {
  for (let at = 0; at < items.length; at += ROWS_PER_STATEMENT) yield items.slice(at, at + ROWS_PER_STATEMENT);
}
