import type { Transaction } from "./transaction.ts";

/** Changes kept in all, so that a few large transactions don't hold much memory. */
const CHANGES_MAX = 4_096;

/** The newest transactions, so that those who follow closely don't each read them from the database. */
export class RecentTransactions {
  #transactions: Transaction[] = [];
  #changes = 0;

  /** Takes the transaction that follows the newest one kept. */
  add(transaction: Transaction): void {
    this.#transactions.push(transaction);
    this.#changes += transaction.changes.length;
    let drop = 0;
    // The newest always stays, however large: everybody wants it now.
    while (this.#changes > CHANGES_MAX && drop < this.#transactions.length - 1) {
      this.#changes -= this.#transactions[drop]?.changes.length ?? 0;
      drop += 1;
    }
    // Dropping some at a time keeps this O(1) per transaction.
    if (drop > 0) this.#transactions.splice(0, drop);
  }

  /** Forgets all: what comes next doesn't follow the newest one kept. */
  clear(): void {
    this.#transactions = [];
    this.#changes = 0;
  }

  /** Those after a revision, at most `limit`; undefined if the first of them isn't kept any more. */
  after(revision: bigint, limit: number): readonly Transaction[] | undefined {
    const first = this.#transactions[0]?.revision;
    if (first === undefined || revision + 1n < first) return undefined;
    const from = Number(revision + 1n - first);
    return this.#transactions.slice(from, from + limit);
  }
}
