import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";

import type { Change } from "#sluice/admin/v1/common_pb.ts";
import { type WatchResponse, WatchResponseSchema } from "#sluice/admin/v1/gateway_service_pb.ts";

import { diffObjects } from "../model/diff.ts";
import type { StoredChange, Transaction } from "../store/transaction.ts";

// Many watchers get the same transaction; it is compared once.
const changes = new WeakMap<StoredChange, Change>();

/** A transaction as watchers see it. @param gatewayGroup leaves only the changes of this group and its services; empty for all. */
export function transactionMessage(transaction: Transaction, gatewayGroup: string): WatchResponse {
  const chosen = transaction.changes.filter(({ key }) => gatewayGroup === "" || key.gatewayGroup === gatewayGroup);
  return create(WatchResponseSchema, {
    revision: transaction.revision,
    time: timestampFromDate(transaction.time),
    changes: chosen.map(changeMessage),
    actor: transaction.actor,
  });
}

function changeMessage(change: StoredChange): Change {
  let message = changes.get(change);
  if (message === undefined) {
    message = diffObjects(change.before, change.after);
    changes.set(change, message);
  }
  return message;
}
