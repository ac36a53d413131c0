/** What clusters were before this control plane started: data planes that come back may hold it still. */
import { resourceType } from "#proto/resource-types.ts";

import { keyText } from "./model/objects.ts";
import type { Store } from "./store/store.ts";
import type { Transaction } from "./store/transaction.ts";
import { GroupTranslation, type ObjectChange } from "./translate/group.ts";

/** What a data plane missed is looked for in so many transactions, and so far back; what is large is left out, since the start must not wait. */
const TRANSACTIONS_MAX = 100;
const BYTES_MAX = 512 * 1024;
const BACK_MS_MAX = 3_600_000;

const CDS = resourceType("CDS").typeUrl;

/** One change of a cluster, encoded; undefined: there was, or is, none. */
export interface ClusterStep {
  readonly name: string;
  readonly before: Uint8Array | undefined;
  readonly after: Uint8Array | undefined;
}

/** The latest changes of clusters by gateway group, the oldest first, up to the newest revision. @throws StoreError */
export async function recentClusters(
  store: Pick<Store, "transactionsBefore">,
  nowMs = Date.now(),
): Promise<Map<string, readonly ClusterStep[]>> {
  const found = await store.transactionsBefore({ limit: TRANSACTIONS_MAX, bytesMax: BYTES_MAX });
  const recent = found.filter(({ time }) => nowMs - time.getTime() <= BACK_MS_MAX).reverse();
  const groups = new Set(recent.flatMap(({ changes }) => changes.map(({ key }) => key.gatewayGroup)));
  return new Map(Array.from(groups, (group) => [group, stepsOf(group, recent)]));
}

function stepsOf(group: string, transactions: readonly Transaction[]): ClusterStep[] {
  const ofGroup = transactions.map(({ changes }) => changes.filter(({ key }) => key.gatewayGroup === group));
  // What clusters are is in the service, or the group, that they come from: nothing else need be known of that time.
  const first = new Map<string, ObjectChange>();
  for (const { key, before } of ofGroup.flat()) {
    if (!first.has(keyText(key))) first.set(keyText(key), { key, object: before });
  }
  const translation = new GroupTranslation();
  const clusters = new Map<string, Uint8Array>();
  const take = (objects: readonly ObjectChange[]): ClusterStep[] =>
    translation.apply(objects).changes.flatMap(({ typeUrl, name, bytes }) => {
      if (typeUrl !== CDS) return [];
      const before = clusters.get(name);
      if (bytes === null) clusters.delete(name);
      else clusters.set(name, bytes);
      return [{ name, before, after: bytes ?? undefined }];
    });
  take([...first.values()]);
  return ofGroup.flatMap((changes) => take(changes.map(({ key, after }) => ({ key, object: after }))));
}
