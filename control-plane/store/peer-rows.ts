import { type Kysely, sql } from "kysely";

import { type Backend, explained, inTransaction } from "./backend.ts";
import type { Tables } from "./tables.ts";

const CHUNK_BYTES = 1024 * 1024;

/** Hints: "ask ID", and "answer ID" for who asked. */
const ASK = "ask ";
const ANSWER = "answer ";

/** Whoever asked has long given up; what it left, because it ended meanwhile, is deleted. */
const KEEP_MS = 60_000;

/** A question of one replica to all others. */
export interface Question {
  readonly id: string;
  readonly method: string;
  readonly bytes: Uint8Array;
}

/** One replica's answer; null: it has nothing to say. */
export interface PeerAnswer {
  readonly sender: string;
  readonly bytes: Uint8Array | null;
}

/** What wakes a replica. */
export interface PeerEvents {
  /** A question may have come from somebody else. */
  asked(id: string): void;
  /** An answer may have come. */
  answered(id: string): void;
  /** Anything may have come unnoticed. */
  anything(): void;
}

/**
 * By which the replicas on one PostgreSQL ask one another: none need reach another over the network, and nothing is written while nobody
 * asks but a sign of life.
 */
export class PeerRows {
  readonly #backend: Backend;

  constructor(backend: Backend) {
    this.#backend = backend;
  }

  /** Whether there can be other replicas. */
  get isShared(): boolean {
    return this.#backend.kind === "postgres";
  }

  /** This replica lives for `ttlMs` more. @returns all that live @throws StoreError */
  async beat(replica: string, ttlMs: number): Promise<readonly string[]> {
    return await inTransaction(this.#backend, async (tx) => {
      const nowMs = await this.#backend.nowMs(tx);
      const expire_time = nowMs + ttlMs;
      await tx
        .insertInto("sluice_replicas")
        .values({ replica, expire_time })
        .onConflict((conflict) => conflict.column("replica").doUpdateSet({ expire_time }))
        .execute();
      const dead = tx.deleteFrom("sluice_replicas").where("expire_time", "<", nowMs - KEEP_MS);
      await dead.execute();
      await tx
        .deleteFrom("sluice_peer_messages")
        .where("time", "<", nowMs - KEEP_MS)
        .execute();
      const live = await tx.selectFrom("sluice_replicas").select("replica").where("expire_time", ">=", nowMs).execute();
      return live.map((row) => row.replica);
    });
  }

  /** This replica ends. @throws StoreError */
  async leave(replica: string): Promise<void> {
    await inTransaction(this.#backend, async (tx) => {
      await tx.deleteFrom("sluice_replicas").where("replica", "=", replica).execute();
    });
  }

  /** Puts a question to all other replicas. @throws StoreError */
  async ask(sender: string, { id, method, bytes }: Question): Promise<void> {
    await inTransaction(this.#backend, async (tx) => {
      await this.#write(tx, { id, sender, method }, bytes);
      await this.#backend.hint(tx, ASK + id);
    });
  }

  /** A question that this replica has not answered; undefined if it is its own, is withdrawn, or is answered. @throws StoreError */
  async question(id: string, reader: string): Promise<Question | undefined> {
    const rows = await explained(this.#backend, (db) =>
      db.selectFrom("sluice_peer_messages").selectAll().where("id", "=", id).orderBy("chunk").execute(),
    );
    const chunks = rows.filter(({ method }) => method !== "");
    const [first] = chunks;
    if (first === undefined || rows.some(({ sender }) => sender === reader)) return undefined;
    return { id, method: first.method, bytes: Buffer.concat(chunks.map(({ bytes }) => bytes ?? new Uint8Array())) };
  }

  /** The ids of questions of others that lie there. @throws StoreError */
  async open(reader: string): Promise<readonly string[]> {
    const rows = await explained(this.#backend, (db) =>
      db
        .selectFrom("sluice_peer_messages")
        .select("id")
        .where("method", "!=", "")
        .where("chunk", "=", 0)
        .where("sender", "!=", reader)
        .execute(),
    );
    return rows.map(({ id }) => id);
  }

  /** Answers a question, if it still stands. @param bytes null: nothing to say @throws StoreError */
  async answer(id: string, sender: string, bytes: Uint8Array | null): Promise<void> {
    await inTransaction(this.#backend, async (tx) => {
      const asked = await sql`select id from sluice_peer_messages where id = ${id} and method <> '' for share`.execute(
        tx,
      );
      if (asked.rows.length === 0) return;
      await this.#write(tx, { id, sender, method: "" }, bytes);
      await this.#backend.hint(tx, ANSWER + id);
    });
  }

  /** The answers that have come. @throws StoreError */
  async answers(id: string): Promise<readonly PeerAnswer[]> {
    const rows = await explained(this.#backend, (db) =>
      db
        .selectFrom("sluice_peer_messages")
        .select(["sender", "bytes"])
        .where("id", "=", id)
        .where("method", "=", "")
        .orderBy("sender")
        .orderBy("chunk")
        .execute(),
    );
    return Array.from(
      Map.groupBy(rows, ({ sender }) => sender),
      ([sender, chunks]) => {
        const parts = chunks.flatMap(({ bytes }) => (bytes === null ? [] : [bytes]));
        return { sender, bytes: parts.length === 0 ? null : Buffer.concat(parts) };
      },
    );
  }

  /** Who asked has heard enough. @throws StoreError */
  async withdraw(id: string): Promise<void> {
    await explained(this.#backend, (db) => db.deleteFrom("sluice_peer_messages").where("id", "=", id).execute());
  }

  /** Returns how to stop. */
  follow(events: PeerEvents): () => Promise<void> {
    return this.#backend.followHints(async (topics) => {
      if (topics.size === 0) events.anything();
      for (const topic of topics) {
        if (topic.startsWith(ASK)) events.asked(topic.slice(ASK.length));
        else if (topic.startsWith(ANSWER)) events.answered(topic.slice(ANSWER.length));
      }
    });
  }

  async #write(
    tx: Kysely<Tables>,
    head: { readonly id: string; readonly sender: string; readonly method: string },
    bytes: Uint8Array | null,
  ): Promise<void> {
    const time = await this.#backend.nowMs(tx);
    const count = Math.max(1, Math.ceil((bytes?.length ?? 0) / CHUNK_BYTES));
    for (let chunk = 0; chunk < count; chunk++) {
      const part = bytes?.subarray(chunk * CHUNK_BYTES, (chunk + 1) * CHUNK_BYTES) ?? null;
      await tx
        .insertInto("sluice_peer_messages")
        .values({ ...head, chunk, time, bytes: part })
        .execute();
    }
  }
}
