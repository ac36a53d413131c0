import type { ObjectKey, StoredObject } from "../model/objects.ts";
import type { LeaseRows } from "./lease-rows.ts";
import type { StoreKind } from "./migrations.ts";
import type { PeerRows } from "./peer-rows.ts";
import type { SharedRows } from "./shared-rows.ts";
import type { StoreState } from "./mirror.ts";
import type { Transaction } from "./transaction.ts";
import type { TrialRows } from "./trial-rows.ts";

/** What one write does: objects to put as they are, and keys to delete. No key appears twice. */
export interface ObjectWrites {
  readonly puts: readonly StoredObject[];
  readonly deletes: readonly ObjectKey[];
}

/**
 * Decides on a write, from the state as it is when the write's turn comes: no other write happens between. It is pure and synchronous,
 * and throws to refuse; what it throws reaches the caller of `write`. Puts that change nothing must be left out.
 */
export type Decide<Result> = (state: StoreState) => { readonly writes: ObjectWrites; readonly result: Result };

/** A write that was made, or need not be made. */
export interface Written<Result> {
  readonly result: Result;
  /** The store's revision afterwards. */
  readonly revision: bigint;
  /** Undefined if there was nothing to write, or for a dry run. */
  readonly transaction: Transaction | undefined;
}

export interface WriteOptions {
  /** Who writes, for the audit. */
  readonly actor: string;
  /** Decides, and writes nothing. Default: false. */
  readonly dryRun?: boolean;
}

/** The transactions of a part of the past. */
export interface PastQuery {
  /** Only transactions older than this revision. Default: from the newest. */
  readonly before?: bigint;
  /** Only changes of this gateway group and its services. */
  readonly gatewayGroup?: string;
  /** At most so many transactions. */
  readonly limit: number;
  /** At most so many stored bytes, even if that leaves none. Default: enough for any one transaction. */
  readonly bytesMax?: number;
}

/** What a store tells while it works. */
export interface StoreEvents {
  /** Something went wrong that heals by itself, such as a broken connection. The message holds no secret. */
  warn(message: string): void;
  /** A transaction was written. `durationMs` is how long that took once its turn had come. */
  wrote?(durationMs: number): void;
}

/**
 * Where the model lives. Every write is one transaction and raises the revision by one; a write that was acknowledged survives the loss of
 * the process, and of power. Objects handed out are shared: nobody changes them.
 */
export interface Store {
  readonly kind: StoreKind;
  /** Made with the store; tells two databases apart. */
  readonly id: string;
  /** Instances that programs reported; beside the model, and not part of its history. */
  readonly leases: LeaseRows;
  /** What replicas share of discovery. */
  readonly shared: SharedRows;
  /** By which replicas ask one another. */
  readonly peers: PeerRows;
  /** Revisions that one data plane tries before the others. */
  readonly trials: TrialRows;
  /** Of the newest transaction that this process knows; 0 in an empty store. */
  revision(): Promise<bigint>;
  /** All objects as of now, for readers that don't wait. It changes with every transaction: use it up before the next `await`. */
  readonly state: StoreState;
  /** All objects at one revision. */
  snapshot(): Promise<Snapshot>;
  /** Transactions after a revision, the oldest first and without gaps, at most `limit`; none if there are none yet. */
  transactionsAfter(revision: bigint, limit: number): Promise<readonly Transaction[]>;
  /** Past transactions, the newest first. May give fewer than `limit` when they are large, but never none while there are some. */
  transactionsBefore(query: PastQuery): Promise<readonly Transaction[]>;
  /**
   * Calls `listener` with the newest revision after each transaction, whichever replica wrote it. It is called synchronously and must
   * not throw. Returns how to stop.
   */
  subscribe(listener: (revision: bigint) => void): () => void;
  /**
   * @throws whatever `decide` throws, and StoreError: "busy" when too many writes wait, "unavailable" when the database fails (on
   *   PostgreSQL a connection that breaks during the commit leaves open whether the write was made)
   */
  write<Result>(options: WriteOptions, decide: Decide<Result>): Promise<Written<Result>>;
  /** Waits for the write under way, refuses those that wait, and closes the database. */
  close(): Promise<void>;
}

/** Everything at one revision. */
export interface Snapshot {
  readonly revision: bigint;
  /** Gateway groups first, then kind by kind. */
  readonly objects: readonly StoredObject[];
}
