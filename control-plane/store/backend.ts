import type { Kysely, Transaction } from "kysely";

import type { StoreKind } from "./migrations.ts";
import type { RecordPlace } from "./records.ts";
import type { Tables } from "./tables.ts";

/** What SQLite and PostgreSQL do differently. */
export interface Backend extends RecordPlace {
  readonly kind: StoreKind;
  readonly db: Kysely<Tables>;
  /** What a failure of the driver means to an operator, as a StoreError; anything else as it is. */
  explain(error: unknown): unknown;
  /** Called first in each write: no other writer passes until the transaction ends. */
  lock(tx: Transaction<Tables>): Promise<void>;
  /** Called last in each write: tells other replicas when the transaction is committed. */
  announce(tx: Transaction<Tables>, revision: bigint): Promise<void>;
  /** Milliseconds since 1970 by the one clock that all replicas share. */
  nowMs(db: Kysely<Tables>): Promise<number>;
  /** Called in a transaction: wakes whoever follows this topic (at most 8,000 bytes) when it is committed. */
  hint(tx: Kysely<Tables>, topic: string): Promise<void>;
  /** Calls `onHint` with the topics of hints, and with none after each new connection and every few seconds. Returns how to stop. */
  followHints(onHint: (topics: ReadonlySet<string>) => Promise<void>): () => Promise<void>;
  /** Calls `onHint` whenever another replica may have written. Returns how to stop. */
  follow(onHint: () => Promise<void>): () => Promise<void>;
}

/** Runs statements. @throws StoreError where the driver fails */
export async function explained<Result>(
  backend: Backend,
  action: (db: Kysely<Tables>) => Promise<Result>,
): Promise<Result> {
  try {
    return await action(backend.db);
  } catch (error) {
    throw backend.explain(error);
  }
}

/** Runs statements that take effect together. @throws StoreError where the driver fails */
export const inTransaction = <Result>(
  backend: Backend,
  action: (tx: Transaction<Tables>) => Promise<Result>,
): Promise<Result> => explained(backend, (db) => db.transaction().execute(action));
