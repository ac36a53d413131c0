import type { Transaction as KyselyTransaction } from "kysely";

import { memberKinds } from "../model/kinds.ts";
import { keyOf, keyText } from "../model/objects.ts";
import type { Backend } from "./backend.ts";
import { StoreError } from "./errors.ts";
import { readTransactions } from "./history.ts";
import { defaultRetention, type Retention, trimHistory } from "./retention.ts";
import { LeaseRows } from "./lease-rows.ts";
import type { StoreKind } from "./migrations.ts";
import { Mirror, type StoreState } from "./mirror.ts";
import { loadAll, readRevision, writeTransaction } from "./persist.ts";
import { PeerRows } from "./peer-rows.ts";
import { SharedRows } from "./shared-rows.ts";
import { RecentTransactions } from "./recent.ts";
import type { Decide, ObjectWrites, PastQuery, Snapshot, Store, StoreEvents, WriteOptions, Written } from "./store.ts";
import type { Tables } from "./tables.ts";
import type { StoredChange, Transaction } from "./transaction.ts";
import { TrialRows } from "./trial-rows.ts";
import { WriteQueue } from "./write-queue.ts";

/** Writes that may wait for their turn; more than that means that the database can't keep up. */
const WAITING_WRITES_MAX = 1_000;

/** Transactions read at once while catching up with other replicas. */
const CATCH_UP_TRANSACTIONS = 500;

/** History is trimmed at the start, and then so often. */
const TRIM_INTERVAL_MS = 600_000;

/** The store over a database: one writer at a time, and all objects mirrored in memory. */
export class SqlStore implements Store {
  readonly kind: StoreKind;
  readonly id: string;
  readonly leases: LeaseRows;
  readonly shared: SharedRows;
  readonly peers: PeerRows;
  readonly trials: TrialRows;
  readonly #backend: Backend;
  readonly #mirror: Mirror;
  readonly #recent = new RecentTransactions();
  readonly #queue = new WriteQueue(WAITING_WRITES_MAX);
  readonly #listeners = new Set<(revision: bigint) => void>();
  readonly #events: StoreEvents;
  readonly #unfollow: () => Promise<void>;
  readonly #trimTimer: NodeJS.Timeout;
  #trimming: Promise<void> = Promise.resolve();

  private constructor(backend: Backend, id: string, mirror: Mirror, events: StoreEvents, retention: Retention) {
    this.kind = backend.kind;
    this.id = id;
    this.leases = new LeaseRows(backend);
    this.shared = new SharedRows(backend);
    this.peers = new PeerRows(backend);
    this.trials = new TrialRows(backend);
    this.#backend = backend;
    this.#mirror = mirror;
    this.#events = events;
    this.#unfollow = backend.follow(() => this.#catchUp());
    const trim = () => {
      this.#trimming = this.#trim(retention);
    };
    this.#trimTimer = setInterval(trim, TRIM_INTERVAL_MS).unref();
    trim();
  }

  /** Reads everything. The store owns the backend from then on. @throws StoreError */
  static async open(backend: Backend, events: StoreEvents, retention = defaultRetention): Promise<SqlStore> {
    try {
      const mirror = new Mirror();
      const id = await loadAll(backend, mirror);
      return new SqlStore(backend, id, mirror, events, retention);
    } catch (error) {
      await backend.db.destroy();
      throw backend.explain(error);
    }
  }

  get state(): StoreState {
    return this.#mirror;
  }

  async revision(): Promise<bigint> {
    return this.#mirror.revision;
  }

  async snapshot(): Promise<Snapshot> {
    const members = memberKinds.flatMap((kind) => [...this.#mirror.entries(kind)]);
    const objects = [...this.#mirror.gatewayGroupEntries(), ...members].map(({ object }) => object);
    return { revision: this.#mirror.revision, objects };
  }

  async transactionsAfter(revision: bigint, limit: number): Promise<readonly Transaction[]> {
    const newest = this.#mirror.revision;
    if (revision > newest)
      throw new StoreError("out_of_range", `revision ${revision} is not there yet; the store is at ${newest}`);
    if (revision === newest) return [];
    const recent = this.#recent.after(revision, limit);
    if (recent !== undefined) return recent;
    // Not past the mirror: who reads a transaction here may look at the state next.
    const range = { after: Number(revision), before: Number(newest) + 1, order: "asc", limit } as const;
    const transactions = await this.#explained(() => readTransactions(this.#backend.db, range, this.#backend));
    if (transactions[0]?.revision !== revision + 1n) {
      throw new StoreError(
        "out_of_range",
        `what follows revision ${revision} is not kept any more: read everything anew`,
      );
    }
    return transactions;
  }

  async transactionsBefore({ before, gatewayGroup, limit, bytesMax }: PastQuery): Promise<readonly Transaction[]> {
    const end = Number(before ?? this.#mirror.revision + 1n);
    const range = { after: 0, before: end, gatewayGroup, order: "desc", limit, bytesMax } as const;
    return await this.#explained(() => readTransactions(this.#backend.db, range, this.#backend));
  }

  subscribe(listener: (revision: bigint) => void): () => void {
    // Its own function, so that one that subscribes twice is called twice and each call stops only its own.
    const own = (revision: bigint) => listener(revision);
    this.#listeners.add(own);
    return () => this.#listeners.delete(own);
  }

  async write<Result>(options: WriteOptions, decide: Decide<Result>): Promise<Written<Result>> {
    return await this.#queue.run(() =>
      options.dryRun === true ? this.#dryRun(decide) : this.#writeNow(options.actor, decide),
    );
  }

  async close(): Promise<void> {
    await this.#queue.close();
    clearInterval(this.#trimTimer);
    await this.#trimming;
    await this.#unfollow();
    this.#listeners.clear();
    await this.#backend.db.destroy();
  }

  async #dryRun<Result>(decide: Decide<Result>): Promise<Written<Result>> {
    await this.#explained(() => this.#catchUp());
    const { result } = decide(this.#mirror);
    return { result, revision: this.#mirror.revision, transaction: undefined };
  }

  async #writeNow<Result>(actor: string, decide: Decide<Result>): Promise<Written<Result>> {
    let refusal: { readonly reason: unknown } | undefined;
    let committing = false;
    const decideOnce: Decide<Result> = (state) => {
      try {
        return decide(state);
      } catch (reason) {
        refusal = { reason };
        throw reason;
      }
    };
    const started = performance.now();
    try {
      const written = await this.#backend.db.transaction().execute(async (tx) => {
        const made = await this.#writeIn(tx, actor, decideOnce);
        committing = made.transaction !== undefined;
        return made;
      });
      if (written.transaction !== undefined) {
        this.#events.wrote?.(performance.now() - started);
        this.#advance(written.transaction);
      }
      return written;
    } catch (error) {
      if (refusal !== undefined) throw refusal.reason;
      const explained = this.#backend.explain(error);
      if (!committing || !(explained instanceof StoreError)) throw explained;
      // The answer to the commit is missing, not necessarily the commit.
      const message = `${explained.message}; the write may or may not have been made: look before you repeat it`;
      throw new StoreError(explained.reason, message, { cause: error });
    }
  }

  async #writeIn<Result>(
    tx: KyselyTransaction<Tables>,
    actor: string,
    decide: Decide<Result>,
  ): Promise<Written<Result>> {
    await this.#backend.lock(tx);
    await this.#catchUp(tx);
    const { writes, result } = decide(this.#mirror);
    const changes = this.#changesOf(writes);
    if (changes.length === 0) return { result, revision: this.#mirror.revision, transaction: undefined };
    const transaction: Transaction = { revision: this.#mirror.revision + 1n, time: new Date(), actor, changes };
    await writeTransaction(tx, transaction, this.#mirror, this.#backend);
    await this.#backend.announce(tx, transaction.revision);
    return { result, revision: transaction.revision, transaction };
  }

  #changesOf({ puts, deletes }: ObjectWrites): StoredChange[] {
    const changes: StoredChange[] = [];
    const seen = new Set<string>();
    const add = (change: StoredChange) => {
      const text = keyText(change.key);
      if (seen.has(text)) throw new Error(`one transaction writes ${text} twice`);
      seen.add(text);
      changes.push(change);
    };
    for (const object of puts) {
      const key = keyOf(object);
      add({ key, before: this.#mirror.find(key)?.object, after: object });
    }
    for (const key of deletes) {
      const before = this.#mirror.find(key)?.object;
      if (before === undefined) throw new Error(`${keyText(key)} can't be deleted: it doesn't exist`);
      add({ key, before, after: undefined });
    }
    return changes;
  }

  /**
   * Takes what other replicas wrote, and what this one wrote without hearing of it. Safe to run beside itself: the mirror takes each
   * transaction once.
   */
  async #catchUp(tx?: KyselyTransaction<Tables>): Promise<void> {
    const db = tx ?? this.#backend.db;
    const newest = await readRevision(db);
    if (newest < this.#mirror.revision && tx !== undefined) {
      throw new StoreError(
        "unavailable",
        `${this.#backend.where} went back from revision ${this.#mirror.revision} to ${newest}, as after a restore: restart the control plane`,
      );
    }
    while (this.#mirror.revision < newest) {
      // Another way may bring the mirror further while this one reads.
      const known = this.#mirror.revision;
      const range = {
        after: Number(known),
        before: Number(newest) + 1,
        order: "asc",
        limit: CATCH_UP_TRANSACTIONS,
      } as const;
      const transactions = await readTransactions(db, range, this.#backend);
      if (transactions[0]?.revision !== known + 1n) {
        await this.#readAnew();
        return;
      }
      for (const transaction of transactions) this.#advance(transaction);
    }
  }

  /** After a standstill that was longer than history is kept. */
  async #readAnew(): Promise<void> {
    const before = this.#mirror.revision;
    const mirror = new Mirror();
    await loadAll(this.#backend, mirror);
    // Meanwhile another way may have brought it further; what is kept by now lets the next look catch up.
    if (mirror.revision <= this.#mirror.revision) return;
    this.#events.warn(
      `the changes after revision ${before} are not kept any more: read everything at ${mirror.revision}`,
    );
    this.#mirror.become(mirror);
    this.#recent.clear();
    for (const listener of this.#listeners) listener(mirror.revision);
  }

  /** Never throws: what could not be deleted now will be later. */
  async #trim(retention: Retention): Promise<void> {
    try {
      await trimHistory(this.#backend.db, retention);
    } catch (error) {
      const explained = this.#backend.explain(error);
      this.#events.warn(`old changes could not be deleted: ${explained instanceof Error ? explained.message : "?"}`);
    }
  }

  #advance(transaction: Transaction): void {
    if (!this.#mirror.advance(transaction)) return;
    this.#recent.add(transaction);
    for (const listener of this.#listeners) listener(transaction.revision);
  }

  async #explained<Result>(read: () => Promise<Result>): Promise<Result> {
    try {
      return await read();
    } catch (error) {
      throw this.#backend.explain(error);
    }
  }
}
