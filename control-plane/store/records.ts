import { fromBinary, toBinary } from "@bufbuild/protobuf";
import type { Selectable } from "kysely";

import { type Kind, kinds, objectKinds, schemaOf } from "../model/kinds.ts";
import { keyOf, type ObjectKey, type StoredObject } from "../model/objects.ts";
import { messageOf, StoreError } from "./errors.ts";
import type { SecretBox } from "./secret-box.ts";
import type { ChangesTable } from "./tables.ts";
import type { StoredChange, Transaction } from "./transaction.ts";

/** The columns that name an object. */
export interface KeyColumns {
  readonly kind: string;
  readonly gateway_group: string;
  readonly name: string;
}

const kindByColumn: ReadonlyMap<string, Kind> = new Map(kinds.map((kind) => [objectKinds[kind].stored, kind]));

/** An object's key as the tables have it. */
export const keyColumns = (key: ObjectKey): KeyColumns => ({
  kind: objectKinds[key.kind].stored,
  gateway_group: key.gatewayGroup,
  name: key.name,
});

/** The key that a row names. @throws StoreError "corrupt" */
export function keyFrom(row: KeyColumns, where: string): ObjectKey {
  const kind = kindByColumn.get(row.kind);
  if (kind === undefined) {
    throw new StoreError("corrupt", `${where}: ${describe(row)}: objects of this kind are unknown`);
  }
  return { kind, gatewayGroup: row.gateway_group, name: row.name };
}

/** A database that objects are in. */
export interface RecordPlace {
  /** Names the database in errors; without secrets. */
  readonly where: string;
  readonly secrets: SecretBox;
}

/** An object's message as it is stored. */
export function encodeObject(object: StoredObject, { secrets }: RecordPlace): Uint8Array {
  const schema = schemaOf(object.kind);
  return toBinary(schema, secrets.seal(schema, object.value, describe(keyColumns(keyOf(object)))));
}

/** Reads a stored message. @throws StoreError "corrupt", naming the database and the object */
export function decodeObject(row: KeyColumns, bytes: Uint8Array, { where, secrets }: RecordPlace): StoredObject {
  const { kind } = keyFrom(row, where);
  try {
    const schema = schemaOf(kind);
    const value = secrets.open(schema, fromBinary(schema, bytes), describe(row));
    const object = { kind, value } as unknown as StoredObject;
    if (object.value.name !== row.name) throw new Error(`it holds "${object.value.name}"`);
    return object;
  } catch (error) {
    throw new StoreError("corrupt", `${where} is damaged: ${describe(row)} can't be read: ${messageOf(error)}`);
  }
}

/** Rows of `changes`, ordered by revision and position, as whole transactions. @throws StoreError "corrupt" */
export function toTransactions(rows: Iterable<Selectable<ChangesTable>>, place: RecordPlace): Transaction[] {
  const transactions: Transaction[] = [];
  let changes: StoredChange[] = [];
  for (const row of rows) {
    const revision = BigInt(row.revision);
    if (transactions.at(-1)?.revision !== revision) {
      changes = [];
      transactions.push({ revision, time: new Date(row.time), actor: row.actor, changes });
    }
    changes.push({
      key: keyFrom(row, place.where),
      before: row.before === null ? undefined : decodeObject(row, row.before, place),
      after: row.after === null ? undefined : decodeObject(row, row.after, place),
    });
  }
  return transactions;
}

const describe = (row: KeyColumns) => `${row.kind} ${row.gateway_group}/${row.name}`;
