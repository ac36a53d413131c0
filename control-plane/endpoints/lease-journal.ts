import { setTimeout as sleep } from "node:timers/promises";

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";

import { SavedLeaseSchema } from "#sluice/discovery/v1/saved_pb.ts";

import type { Lease, LeasePlace } from "../../discovery/leases/lease.ts";
import { leaseKey } from "../../discovery/leases/lease.ts";
import type { LeaseTable } from "../../discovery/leases/table.ts";

/** Changes are gathered so long before they are written: data planes hear of them first, and many are one transaction. */
const GATHER_MS = 20;
/** Where replicas share rows, it is looked so often for what has to be written. */
const STEP_MS = 50;
/** Where replicas share rows, the ends of leases are looked for so often. */
const EXPIRE_INTERVAL_MS = 500;
/** Of a database that fails; what changes meanwhile waits in the table, which is bounded. */
const RETRY_MS = 1_000;

interface Row {
  readonly key: string;
  readonly ttlMs: number;
  /** A SavedLease. */
  readonly bytes: Uint8Array;
}

/** Where leases are kept: store/lease-rows.ts. */
export interface LeaseRows {
  /** Whether other replicas read and write the same rows; the database's clock then ends leases. */
  readonly isShared: boolean;
  index(): Promise<ReadonlyMap<string, number>>;
  read(keys: readonly string[]): Promise<readonly Row[]>;
  write(puts: readonly Row[], renewed: readonly string[], gone: readonly string[]): Promise<void>;
  renewAll(): Promise<void>;
  expire(): Promise<void>;
  follow(onChange: () => Promise<void>): () => Promise<void>;
}

/**
 * Keeps the lease table and its rows in step. The table is what counts, at once; those who report wait for kept(). Were they answered
 * before, a control plane that is killed would bring back what has left, or the former address of what goes on to send heartbeats.
 */
export class LeaseJournal {
  readonly #table: LeaseTable;
  readonly #rows: LeaseRows;
  readonly #warn: (message: string) => void;
  readonly #closed = new AbortController();
  /** Versions of the rows that the table has. */
  #versions: ReadonlyMap<string, number> = new Map();
  /** What reads rows and what writes them take turns: what was read before a write would undo it in the table. */
  #turn: Promise<void> = Promise.resolve();
  #running: Promise<void> = Promise.resolve();
  #unfollow = async () => {};
  #wake = () => {};
  /** The write that comes next. */
  #next: Promise<void> | undefined;
  #isFailing = false;
  #warned = "";

  constructor(table: LeaseTable, rows: LeaseRows, warn: (message: string) => void) {
    this.#table = table;
    this.#rows = rows;
    this.#warn = warn;
  }

  /** Takes over what an earlier run left, each with its whole time to live, and keeps in step from then on. @throws StoreError */
  async start(): Promise<void> {
    if (this.#rows.isShared) this.#table.stopClock();
    await this.#rows.renewAll();
    await this.#pull();
    this.#table.onChanges(() => this.#wake());
    this.#running = this.#rows.isShared ? this.#runShared() : this.#run();
    if (this.#rows.isShared) this.#unfollow = this.#rows.follow(() => this.#pull());
  }

  /** Writes what isn't yet, as far as the database takes it at once. */
  async close(): Promise<void> {
    this.#table.onChanges(() => {});
    this.#closed.abort();
    this.#wake();
    await this.#unfollow();
    await this.#running;
    await this.#write().catch((error: unknown) => this.#warn(`reported instances can't be kept: ${String(error)}`));
  }

  /**
   * Resolves when all that was reported, and all that left, before this call is in the database.
   * @throws what the database says if it isn't; it holds for as long as this control plane runs, and is tried again
   */
  kept(): Promise<void> {
    return this.#flush();
  }

  async #inTurn(work: () => Promise<void>): Promise<void> {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => undefined);
    await done;
  }

  #pull(): Promise<void> {
    return this.#inTurn(() => this.#readChanged());
  }

  async #readChanged(): Promise<void> {
    const index = await this.#rows.index();
    const before = this.#versions;
    const changed = [...index].filter(([key, version]) => before.get(key) !== version).map(([key]) => key);
    for (const { key, bytes } of await this.#rows.read(changed)) {
      const saved = fromBinary(SavedLeaseSchema, bytes);
      const { gatewayGroup, registry, service, id, endpoint, ttlMs } = saved;
      // What was reported here meanwhile is newer.
      if (this.#table.isDirty(key) || service === undefined || endpoint === undefined) continue;
      this.#table.restore({ gatewayGroup, registry }, { service, id, endpoint, ttlMs });
    }
    for (const key of before.keys()) if (!index.has(key) && !this.#table.isDirty(key)) this.#table.forget(key);
    this.#versions = index;
  }

  /** Writes whenever something changed. */
  async #run(): Promise<void> {
    const { signal } = this.#closed;
    while (!signal.aborted) {
      if (!this.#table.isChanged) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
      if (!signal.aborted) await this.#flush().catch((error: unknown) => this.#failed(error));
    }
  }

  /** Writes, and ends leases, in steps. */
  async #runShared(): Promise<void> {
    const { signal } = this.#closed;
    let expireMs = performance.now();
    while (!signal.aborted) {
      await this.#sleep(this.#isFailing ? RETRY_MS : STEP_MS);
      const isDue = performance.now() - expireMs >= EXPIRE_INTERVAL_MS;
      if (signal.aborted || !(this.#table.isUrgent || isDue || this.#isFailing)) continue;
      try {
        await this.#write();
        if (isDue) await this.#rows.expire();
      } catch (error) {
        this.#isFailing = true;
        this.#failed(error);
      }
      if (isDue) expireMs = performance.now();
    }
  }

  /** Writes what is there after a while, for all who call this before it begins. */
  #flush(): Promise<void> {
    this.#next ??= this.#sleep(this.#isFailing ? RETRY_MS : GATHER_MS).then(() => this.#write());
    return this.#next;
  }

  #write(): Promise<void> {
    return this.#inTurn(() => this.#writeChanged());
  }

  async #writeChanged(): Promise<void> {
    this.#next = undefined;
    const changes = this.#table.takeChanges();
    const puts = changes.put.map(({ place, lease }) => toRow(place, lease));
    const renewed = this.#rows.isShared ? changes.renewed : [];
    try {
      if (puts.length + renewed.length + changes.gone.length > 0) {
        await this.#rows.write(puts, renewed, changes.gone);
      }
      // Renewals couldn't be written while the database was away, here or elsewhere.
      if (this.#isFailing && this.#rows.isShared) await this.#rows.renewAll();
      this.#isFailing = false;
      this.#warned = "";
    } catch (error) {
      this.#isFailing = true;
      this.#table.putBack(changes);
      throw error;
    }
  }

  /** Tells of a failure once, however often it is met in a row. */
  #failed(error: unknown): void {
    const message = error instanceof Error ? error.message : String(error);
    if (this.#closed.signal.aborted || this.#warned === message) return;
    this.#warned = message;
    this.#warn(`reported instances can't be kept: ${message}; trying again`);
  }

  async #sleep(ms: number): Promise<void> {
    // Only close() aborts it.
    await sleep(ms, undefined, { signal: this.#closed.signal }).catch(() => undefined);
  }
}

function toRow(place: LeasePlace, lease: Lease): Row {
  const { service, id, endpoint, ttlMs } = lease;
  const saved = create(SavedLeaseSchema, { ...place, service, id, endpoint, ttlMs });
  return { key: leaseKey(place, lease), ttlMs, bytes: toBinary(SavedLeaseSchema, saved) };
}
