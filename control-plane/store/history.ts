import { type Kysely, type Selectable, sql, type Transaction as KyselyTransaction } from "kysely";

import { type RecordPlace, toTransactions } from "./records.ts";
import type { ChangesTable, Tables } from "./tables.ts";
import type { Transaction } from "./transaction.ts";

/** Stored bytes that one read takes in, unless a single transaction is larger. */
const READ_BYTES_MAX = 16 * 1024 * 1024;

type Db = Kysely<Tables> | KyselyTransaction<Tables>;

interface Range {
  /** Revisions greater than this. */
  readonly after: number;
  /** Revisions less than this. */
  readonly before: number;
  readonly gatewayGroup?: string | undefined;
  readonly order: "asc" | "desc";
  /** At most so many transactions. */
  readonly limit: number;
  /** Stored bytes of all of them together, even if that leaves none. Default: 16 MiB, or a single transaction. */
  readonly bytesMax?: number | undefined;
}

/**
 * Reads whole transactions from the table of changes, in the order asked for. It gives fewer than there are when they are large, but
 * never none while there are some, but for `bytesMax`; with a gateway group, only the changes of that group.
 */
export async function readTransactions(db: Db, range: Range, place: RecordPlace): Promise<Transaction[]> {
  const inRange = db
    .selectFrom("sluice_changes")
    .where("revision", ">", range.after)
    .where("revision", "<", range.before)
    .$if(range.gatewayGroup !== undefined, (query) => query.where("gateway_group", "=", range.gatewayGroup ?? ""));
  const sizes = await inRange
    .select("revision")
    .select(sql<number>`sum(coalesce(length("before"), 0) + coalesce(length("after"), 0))`.as("bytes"))
    .groupBy("revision")
    .orderBy("revision", range.order)
    .limit(range.limit)
    .execute();
  let bytes = 0;
  const chosen = sizes.filter((size, at) => {
    bytes += Number(size.bytes);
    return bytes <= (range.bytesMax ?? READ_BYTES_MAX) || (at === 0 && range.bytesMax === undefined);
  });
  const ends = [chosen[0]?.revision, chosen.at(-1)?.revision].filter((revision) => revision !== undefined);
  if (ends.length === 0) return [];
  const rows: Selectable<ChangesTable>[] = await inRange
    .selectAll()
    .where("revision", ">=", Math.min(...ends))
    .where("revision", "<=", Math.max(...ends))
    .orderBy("revision", range.order)
    .orderBy("seq")
    .execute();
  return toTransactions(rows, place);
}
