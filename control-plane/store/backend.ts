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
  /** Calls `onHint` whenever another replica may have written. Returns how to stop. */
  follow(onHint: () => Promise<void>): () => Promise<void>;
}
