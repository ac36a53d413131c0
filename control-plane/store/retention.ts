import type { Kysely } from "kysely";

import type { Tables } from "./tables.ts";

/** How much of the past a store keeps. What is older is gone from the audit, and followers that are further behind read everything anew. */
export interface Retention {
  /** Transactions at most. */
  readonly transactionsMax: number;
  /** Their age at most, in milliseconds. */
  readonly ageMsMax: number;
}

export const defaultRetention: Retention = { transactionsMax: 100_000, ageMsMax: 90 * 24 * 3_600_000 };

/** So many are kept whatever their age: those who follow the store are always a little behind. */
export const TRANSACTIONS_MIN = 100;

/** Rows that one statement deletes, so that a write waits for none of them long. */
const BATCH_ROWS = 2_000;

/**
 * Deletes the oldest transactions, as far as they are more or older than is kept. Safe to run on several replicas at once.
 *
 * @returns how many rows of changes were deleted
 */
export async function trimHistory(db: Kysely<Tables>, { transactionsMax, ageMsMax }: Retention): Promise<number> {
  let deleted = 0;
  for (;;) {
    const meta = await db.selectFrom("sluice_meta").select("revision").where("id", "=", 1).executeTakeFirstOrThrow();
    const kept = meta.revision - Math.max(transactionsMax, TRANSACTIONS_MIN);
    const rows = await db
      .selectFrom("sluice_changes")
      .select(["revision", "time"])
      .where("revision", "<=", meta.revision - TRANSACTIONS_MIN)
      .orderBy("revision")
      .limit(BATCH_ROWS)
      .execute();
    const oldestMs = Date.now() - ageMsMax;
    // Times may go back where clocks differ: what follows the first that is kept is kept, too, so that no gap comes into being.
    const firstKept = rows.findIndex(({ revision, time }) => revision > kept && time >= oldestMs);
    const last = rows[firstKept === -1 ? rows.length - 1 : firstKept - 1];
    if (last === undefined) return deleted;
    const { numDeletedRows } = await db
      .deleteFrom("sluice_changes")
      .where("revision", "<=", last.revision)
      .executeTakeFirst();
    deleted += Number(numDeletedRows);
    if (firstKept !== -1) return deleted;
  }
}
