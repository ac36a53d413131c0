import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { type HandlerContext } from "@connectrpc/connect";

import { type Change, type Metadata, MetadataSchema } from "#sluice/admin/v1/common_pb.ts";

import { keyOf, keyText, type ObjectKey, type StoredObject, withDefaults } from "../model/objects.ts";
import { redacted } from "../model/redact.ts";
import type { StoreState } from "../store/mirror.ts";
import type { Store } from "../store/store.ts";
import type { Entry, ObjectMetadata } from "../store/transaction.ts";
import { actorKey } from "./context.ts";
import { alreadyExists, notFound, revisionConflict } from "./errors.ts";
import { plan } from "./plan.ts";

/** What every write of one object says besides the object. */
export interface WriteRequest {
  readonly dryRun: boolean;
  readonly expectedRevision?: bigint | undefined;
}

/** An object after a write, as it may be shown; without metadata when it is a dry run, for nothing was stored. */
export interface WriteResult {
  readonly object: StoredObject;
  readonly metadata: Metadata | undefined;
}

/** Metadata as the admin API carries it. */
export const metadataMessage = ({ revision, createTime, updateTime }: ObjectMetadata): Metadata =>
  create(MetadataSchema, {
    revision,
    createTime: timestampFromDate(createTime),
    updateTime: timestampFromDate(updateTime),
  });

/** The object of a key. @throws ConnectError NOT_FOUND */
export function getObject(state: StoreState, key: ObjectKey): Entry {
  const entry = state.find(key);
  if (entry === undefined) throw notFound(key);
  return entry;
}

/** Whether an object carries all of these labels. */
export const hasLabels = ({ object }: Entry, labels: Readonly<Record<string, string>>) =>
  Object.entries(labels).every(
    ([name, value]) => Object.hasOwn(object.value.labels, name) && object.value.labels[name] === value,
  );

/** @throws ConnectError ABORTED if the caller has seen another revision of the store */
export function expectStoreRevision(state: StoreState, expected: bigint | undefined): void {
  if (expected !== undefined && expected !== state.revision)
    throw revisionConflict("the store", expected, state.revision);
}

/** Stores an object that isn't there. @param field names it in problems. */
export async function createObject(
  store: Store,
  context: HandlerContext,
  given: StoredObject,
  field: string,
  request: WriteRequest,
): Promise<WriteResult> {
  const object = withDefaults(given);
  const key = keyOf(object);
  const { transaction } = await store.write(optionsOf(context, request), (state) => {
    expectStoreRevision(state, request.expectedRevision);
    const { writes } = plan(state, { puts: [{ object, field }], deletes: [] });
    if (state.find(key) !== undefined) throw alreadyExists(key);
    return { writes, result: undefined };
  });
  if (transaction === undefined) return { object: redacted(object), metadata: undefined };
  const { revision, time } = transaction;
  return { object: redacted(object), metadata: metadataMessage({ revision, createTime: time, updateTime: time }) };
}

/** Replaces an object that is there. What changes nothing is not written. @param field names it in problems. */
export async function updateObject(
  store: Store,
  context: HandlerContext,
  given: StoredObject,
  field: string,
  request: WriteRequest,
): Promise<WriteResult & { readonly change: Change | undefined }> {
  const object = withDefaults(given);
  const key = keyOf(object);
  const { result, transaction } = await store.write(optionsOf(context, request), (state) => {
    const before = getObject(state, key);
    expectObjectRevision(key, before, request.expectedRevision);
    const { writes, changes } = plan(state, { puts: [{ object, field }], deletes: [] });
    return { writes, result: { before: before.metadata, change: changes[0] } };
  });
  const { before, change } = result;
  if (request.dryRun) return { object: redacted(object), metadata: undefined, change };
  const metadata =
    transaction === undefined
      ? before
      : { revision: transaction.revision, createTime: before.createTime, updateTime: transaction.time };
  return { object: redacted(object), metadata: metadataMessage(metadata), change };
}

/** Deletes an object. @returns the store's revision afterwards */
export async function deleteObject(
  store: Store,
  context: HandlerContext,
  key: ObjectKey,
  request: WriteRequest,
): Promise<bigint> {
  const { revision } = await store.write(optionsOf(context, request), (state) => {
    expectObjectRevision(key, getObject(state, key), request.expectedRevision);
    const { writes } = plan(state, { puts: [], deletes: [key] });
    return { writes, result: undefined };
  });
  return revision;
}

/** What the store must know of a call that writes. */
export const optionsOf = (context: HandlerContext, { dryRun }: { readonly dryRun: boolean }) => ({
  actor: context.values.get(actorKey),
  dryRun,
});

function expectObjectRevision(key: ObjectKey, { metadata }: Entry, expected: bigint | undefined): void {
  if (expected !== undefined && expected !== metadata.revision) {
    throw revisionConflict(keyText(key), expected, metadata.revision);
  }
}
