import type { Kysely, Transaction as KyselyTransaction } from "kysely";

import { keyText } from "../model/objects.ts";
import type { Backend } from "./backend.ts";
import { StoreError } from "./errors.ts";
import type { Mirror, StoreState } from "./mirror.ts";
import { decodeObject, encodeObject, keyColumns, keyFrom, type RecordPlace } from "./records.ts";
import type { Tables } from "./tables.ts";
import type { Transaction } from "./transaction.ts";

type Db = Kysely<Tables> | KyselyTransaction<Tables>;

/** Rows per statement: SQLite takes at most 32,766 parameters. */
const ROWS_MAX = 500;

/** The store's revision as the database has it. */
export async function readRevision(db: Db): Promise<bigint> {
  const { revision } = await db
    .selectFrom("sluice_meta")
    .select("revision")
    .where("id", "=", 1)
    .executeTakeFirstOrThrow();
  return BigInt(revision);
}

/** Reads everything at one revision into an empty mirror. @returns the store's id. @throws StoreError "corrupt" */
export async function loadAll({ db, kind, where, secrets }: Backend, mirror: Mirror): Promise<string> {
  // SQLite's only connection needs no isolation level, and its driver takes none.
  const transaction = kind === "postgres" ? db.transaction().setIsolationLevel("repeatable read") : db.transaction();
  return await transaction.execute(async (tx) => {
    const meta = await tx.selectFrom("sluice_meta").selectAll().where("id", "=", 1).executeTakeFirst();
    if (meta === undefined) throw new StoreError("corrupt", `${where} is damaged: it has lost its revision`);
    const newest = await tx
      .selectFrom("sluice_changes")
      .select(["revision", "time"])
      .orderBy("revision", "desc")
      .limit(1)
      .executeTakeFirst();
    if ((newest?.revision ?? 0) !== meta.revision) {
      throw new StoreError(
        "corrupt",
        `${where} is damaged: it is at revision ${meta.revision}, but its last change is of ${newest?.revision ?? 0}`,
      );
    }
    for (const row of await tx.selectFrom("sluice_objects").selectAll().execute()) {
      mirror.load(keyFrom(row, where), {
        object: decodeObject(row, row.bytes, { where, secrets }),
        metadata: {
          revision: BigInt(row.revision),
          createTime: new Date(row.create_time),
          updateTime: new Date(row.update_time),
        },
      });
    }
    mirror.revision = BigInt(meta.revision);
    mirror.lastChangeTime = newest === undefined ? undefined : new Date(newest.time);
    return meta.store_id;
  });
}

/** Writes a transaction: its objects, its changes and the revision. `before` is the state that it follows. */
export async function writeTransaction(
  db: Db,
  transaction: Transaction,
  before: StoreState,
  place: RecordPlace,
): Promise<void> {
  const time = transaction.time.getTime();
  const revision = Number(transaction.revision);
  const changeRows = transaction.changes.map(({ key, before: old, after }, seq) => ({
    revision,
    seq,
    time,
    actor: transaction.actor,
    ...keyColumns(key),
    before: old === undefined ? null : encodeObject(old, place),
    after: after === undefined ? null : encodeObject(after, place),
  }));
  for (const rows of chunks(changeRows)) await db.insertInto("sluice_changes").values(rows).execute();

  const objectRows = transaction.changes.flatMap(({ key, after }, at) => {
    const bytes = changeRows[at]?.after;
    if (after === undefined || bytes === undefined || bytes === null) return [];
    const createTime = before.find(key)?.metadata.createTime.getTime() ?? time;
    return [{ ...keyColumns(key), revision, create_time: createTime, update_time: time, bytes }];
  });
  for (const rows of chunks(objectRows)) {
    await db
      .insertInto("sluice_objects")
      .values(rows)
      .onConflict((conflict) =>
        conflict.columns(["kind", "gateway_group", "name"]).doUpdateSet((eb) => ({
          revision: eb.ref("excluded.revision"),
          update_time: eb.ref("excluded.update_time"),
          bytes: eb.ref("excluded.bytes"),
        })),
      )
      .execute();
  }

  for (const { key, after } of transaction.changes) {
    if (after !== undefined) continue;
    const columns = keyColumns(key);
    const { numDeletedRows } = await db
      .deleteFrom("sluice_objects")
      .where("kind", "=", columns.kind)
      .where("gateway_group", "=", columns.gateway_group)
      .where("name", "=", columns.name)
      .executeTakeFirst();
    if (numDeletedRows !== 1n) throw new Error(`${keyText(key)} was not in the database`);
  }
  await db.updateTable("sluice_meta").set({ revision }).where("id", "=", 1).execute();
}

function* chunks<Row>(rows: readonly Row[]): Iterable<Row[]> {
  for (let at = 0; at < rows.length; at += ROWS_MAX) yield rows.slice(at, at + ROWS_MAX);
}
