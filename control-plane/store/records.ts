import { fromBinary, toBinary } from "@bufbuild/protobuf";
import type { Selectable } from "kysely";

import { GatewayGroupSchema } from "#sluice/model/v1/gateway_group_pb.ts";
import { ServiceSchema } from "#sluice/model/v1/service_pb.ts";

import type { ObjectKey, StoredObject } from "../model/objects.ts";
import { messageOf, StoreError } from "./errors.ts";
import type { ChangesTable } from "./tables.ts";
import type { StoredChange, Transaction } from "./transaction.ts";

/** The columns that name an object. */
export interface KeyColumns {
  readonly kind: string;
  readonly gateway_group: string;
  readonly name: string;
}

// As the `kind` columns say it: these words are in databases, so they never change.
const kinds = { gateway_group: "gatewayGroup", service: "service" } as const;
const kindNames: Record<StoredObject["kind"], keyof typeof kinds> = {
  gatewayGroup: "gateway_group",
  service: "service",
};

/** An object's key as the tables have it. */
export const keyColumns = (key: ObjectKey): KeyColumns => ({
  kind: kindNames[key.kind],
  gateway_group: key.gatewayGroup,
  name: key.name,
});

/** The key that a row names. @throws StoreError "corrupt" */
export function keyFrom(row: KeyColumns, where: string): ObjectKey {
  if (row.kind !== "gateway_group" && row.kind !== "service") {
    throw new StoreError("corrupt", `${where}: ${describe(row)}: objects of this kind are unknown`);
  }
  return { kind: kinds[row.kind], gatewayGroup: row.gateway_group, name: row.name };
}

/** An object's message as it is stored. */
export function encodeObject(object: StoredObject): Uint8Array {
  return object.kind === "gatewayGroup"
    ? toBinary(GatewayGroupSchema, object.value)
    : toBinary(ServiceSchema, object.value);
}

/** Reads a stored message. @throws StoreError "corrupt", naming the database and the object */
export function decodeObject(row: KeyColumns, bytes: Uint8Array, where: string): StoredObject {
  const { kind } = keyFrom(row, where);
  try {
    const object: StoredObject =
      kind === "gatewayGroup"
        ? { kind, value: fromBinary(GatewayGroupSchema, bytes) }
        : { kind, value: fromBinary(ServiceSchema, bytes) };
    if (object.value.name !== row.name) throw new Error(`it holds "${object.value.name}"`);
    return object;
  } catch (error) {
    throw new StoreError("corrupt", `${where} is damaged: ${describe(row)} can't be read: ${messageOf(error)}`);
  }
}

/** Rows of `changes`, ordered by revision and position, as whole transactions. @throws StoreError "corrupt" */
export function toTransactions(rows: Iterable<Selectable<ChangesTable>>, where: string): Transaction[] {
  const transactions: Transaction[] = [];
  let changes: StoredChange[] = [];
  for (const row of rows) {
    const revision = BigInt(row.revision);
    if (transactions.at(-1)?.revision !== revision) {
      changes = [];
      transactions.push({ revision, time: new Date(row.time), actor: row.actor, changes });
    }
    changes.push({
      key: keyFrom(row, where),
      before: row.before === null ? undefined : decodeObject(row, row.before, where),
      after: row.after === null ? undefined : decodeObject(row, row.after, where),
    });
  }
  return transactions;
}

const describe = (row: KeyColumns) => `${row.kind} ${row.gateway_group}/${row.name}`;
