import { keyOf, keyText, type ObjectKey, type StoredObject } from "../model/objects.ts";
import { messageOf } from "../store/errors.ts";
import type { Store } from "../store/store.ts";
import type { Transaction } from "../store/transaction.ts";
import type { RevisionRange } from "./record.ts";

/** Who writes revisions that take others back, for the audit. */
export const ROLL_BACK_ACTOR = "sluice rollout";

/** What came of rolling back: the revision that did it, or why there is none. */
export type RolledBack =
  | { readonly ok: true; readonly revision: bigint }
  | { readonly ok: false; readonly why: string };

/** Takes revisions of a gateway group back. It never throws. */
export type RollBack = (group: string, range: RevisionRange) => Promise<RolledBack>;

/** Transactions read at once, and at most so many in all: who is further behind must look himself. */
const PAGE_SIZE = 100;
const PAGES_MAX = 50;

/** Others may write meanwhile; then it is decided anew. */
const ATTEMPTS_MAX = 5;

/**
 * Puts a gateway group's objects back to how they were before some revisions, as a new revision, so that history shows both. Only where
 * nobody has written in the group since: the group is then whole as it was. A revision that took others back is never taken back itself.
 */
export const rollBackIn =
  (store: Pick<Store, "state" | "transactionsAfter" | "write">): RollBack =>
  async (group, range) => {
    try {
      for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
        const transactions = await read(store, range.first - 1n);
        const outcome = await attemptOn(store, group, range, transactions);
        if (outcome !== "changed") return outcome;
      }
      return { ok: false, why: "the gateway changes too often" };
    } catch (error) {
      return { ok: false, why: messageOf(error) };
    }
  };

async function read(store: Pick<Store, "transactionsAfter">, after: bigint): Promise<readonly Transaction[]> {
  const all: Transaction[] = [];
  for (let page = 0; page < PAGES_MAX; page++) {
    const some = await store.transactionsAfter(all.at(-1)?.revision ?? after, PAGE_SIZE);
    all.push(...some);
    if (some.length < PAGE_SIZE) return all;
  }
  throw new Error("there are too many revisions to take back");
}

async function attemptOn(
  store: Pick<Store, "write">,
  group: string,
  range: RevisionRange,
  transactions: readonly Transaction[],
): Promise<RolledBack | "changed"> {
  const before = new Map<string, { readonly key: ObjectKey; readonly object: StoredObject | undefined }>();
  for (const { revision, actor, changes } of transactions) {
    const ours = changes.filter(({ key }) => key.gatewayGroup === group);
    if (ours.length === 0) continue;
    if (revision > range.last) {
      // Another control plane was told to do the same.
      if (actor === ROLL_BACK_ACTOR && before.size > 0) return { ok: true, revision };
      return { ok: false, why: "somebody has written in the group since" };
    }
    if (actor === ROLL_BACK_ACTOR) return { ok: false, why: "it is one that took another back" };
    for (const change of ours) {
      const text = keyText(change.key);
      if (!before.has(text)) before.set(text, { key: change.key, object: change.before });
    }
  }
  const seen = transactions.at(-1)?.revision;
  if (before.size === 0 || seen === undefined) return { ok: false, why: "it changed no object" };
  const puts = [...before.values()].map(({ object }) => object).filter((object) => object !== undefined);
  const kept = new Set(puts.map((object) => keyText(keyOf(object))));
  const deletes = [...before.values()].map(({ key }) => key).filter((key) => !kept.has(keyText(key)));
  if (deletes.some(({ kind }) => kind === "gatewayGroup")) return { ok: false, why: "it made the gateway group" };
  const { result, revision } = await store.write({ actor: ROLL_BACK_ACTOR }, (state) => {
    const isCurrent = state.revision === seen;
    // What several revisions made and deleted again is not there.
    const there = deletes.filter((key) => state.find(key) !== undefined);
    return { writes: isCurrent ? { puts, deletes: there } : { puts: [], deletes: [] }, result: isCurrent };
  });
  return result ? { ok: true, revision } : "changed";
}
