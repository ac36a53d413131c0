/**
 * What the replicas of a control plane share of discovery: each registry is watched by one of them, which writes what it serves, and the
 * others serve the same. Whoever watches says so every second; after some seconds of silence another one takes over, and until then, as
 * after that, all serve what was written last.
 */
import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";

import { fromBinary, toBinary } from "@bufbuild/protobuf";

import { type ServiceSnapshot, ServiceSnapshotSchema } from "#sluice/discovery/v1/snapshot_pb.ts";

/** A replica that is silent for so long has lost its registries. */
const HOLD_MS = 4_000;
const CLAIM_INTERVAL_MS = 1_000;
/** Snapshots that change together are written together. */
const GATHER_MS = 10;
const RETRY_MS = 1_000;
/** Of one service; one that is larger is served by each replica as far as it found it itself. */
const SNAPSHOT_BYTES_MAX = 64 * 1024 * 1024;

interface Key {
  readonly registry: string;
  readonly service: string;
}

/** Where it is shared: store/shared-rows.ts. */
export interface SharedRows {
  claim(
    wanted: readonly { readonly registry: string; readonly info: string }[],
    holder: string,
    ttlMs: number,
  ): Promise<readonly { readonly registry: string; readonly holder: string; readonly info: string }[]>;
  release(holder: string): Promise<void>;
  drop(registry: string, holder: string): Promise<boolean>;
  index(): Promise<readonly (Key & { readonly version: number })[]>;
  read(keys: readonly Key[]): Promise<readonly (Key & { readonly version: number; readonly bytes: Uint8Array })[]>;
  write(holder: string, puts: readonly (Key & { readonly bytes: Uint8Array })[], gone: readonly Key[]): Promise<void>;
  follow(onChange: (keys: readonly Key[] | undefined) => Promise<void>): () => Promise<void>;
}

/** What this replica says of the registries that it watches. */
export type DescribeRegistry = (registry: string) => string;

/** What happens. */
export interface SharedEvents {
  /** Another replica, or this one, watches the registry from now on. */
  roleChanged(registry: string): void;
  warn(message: string): void;
}

export class SharedEndpoints {
  /** This replica, in the lease rows and for people. */
  readonly holder = `${hostname()}-${process.pid}-${randomUUID().slice(0, 8)}`;
  readonly #rows: SharedRows;
  readonly #closed = new AbortController();
  #events: SharedEvents = { roleChanged: () => {}, warn: () => {} };
  #describe: DescribeRegistry = () => "";
  readonly #wanted = new Set<string>();
  /** Deleted registries whose rows are still there. */
  readonly #dropped = new Set<string>();
  #watchers = new Map<string, { readonly holder: string; readonly info: string }>();
  /** When the first question since the last answer about who watches was asked; undefined: the last one was answered. */
  #unansweredSinceMs: number | undefined;
  readonly #found = new Map<string, { readonly version: number; readonly snapshot: ServiceSnapshot }>();
  /** Services that this replica watched and nobody wants: what was found is on its way out, and nothing to begin anew with. */
  readonly #withdrawn = new Set<string>();
  readonly #wakers = new Map<string, Set<() => void>>();
  /** What to write: undefined for what is no longer wanted. */
  #unwritten = new Map<string, { readonly key: Key; readonly bytes: Uint8Array | undefined }>();
  #claimNow = () => {};
  #writeNow = () => {};
  #running: Promise<unknown> = Promise.resolve();
  #unfollow = async () => {};

  constructor(rows: SharedRows) {
    this.#rows = rows;
  }

  /** Reads what others found, and takes part from then on. @throws StoreError */
  async start(events: SharedEvents, describe: DescribeRegistry): Promise<void> {
    this.#events = events;
    this.#describe = describe;
    await this.#pull(undefined);
    this.#unfollow = this.#rows.follow((keys) => this.#pull(keys));
    this.#running = Promise.all([this.#claim(), this.#write()]);
  }

  /** This replica would watch the registry. */
  want(registry: string): void {
    if (this.#wanted.has(registry)) return;
    this.#wanted.add(registry);
    this.#claimNow();
  }

  /** The registry was deleted. */
  drop(registry: string): void {
    if (!this.#wanted.delete(registry)) return;
    this.#watchers.delete(registry);
    for (const map of [this.#found, this.#unwritten]) {
      for (const text of [...map.keys()]) if (registryOf(text) === registry) map.delete(text);
    }
    this.#dropped.add(registry);
    this.#claimNow();
  }

  /** Whether this replica watches the registry. */
  isHolder(registry: string): boolean {
    return this.#watchers.get(registry)?.holder === this.holder;
  }

  /** Who watches it, and what they say of it; undefined while nobody does. */
  watcher(registry: string): { readonly holder: string; readonly info: string } | undefined {
    return this.#watchers.get(registry);
  }

  /** Whether the others may have found something else for so long that it is not known any more what they serve. */
  get isDeaf(): boolean {
    return this.#unansweredSinceMs !== undefined && performance.now() - this.#unansweredSinceMs > HOLD_MS;
  }

  /** What is served of a service; undefined if it was never found. */
  latest(registry: string, service: string): ServiceSnapshot | undefined {
    const text = keyText({ registry, service });
    if (this.isHolder(registry) && this.#withdrawn.has(text)) return undefined;
    return this.#found.get(text)?.snapshot;
  }

  /** Calls `wake` when `latest` gives something else. Returns how to stop. */
  watch(registry: string, service: string, wake: () => void): () => void {
    const text = keyText({ registry, service });
    const wakers = this.#wakers.get(text) ?? new Set();
    this.#wakers.set(text, wakers.add(wake));
    return () => {
      wakers.delete(wake);
      if (wakers.size === 0) this.#wakers.delete(text);
    };
  }

  /** This replica serves this of a service that it watches. */
  publish(registry: string, service: string, snapshot: ServiceSnapshot): void {
    // What credentials hide is told with the rest of what is wrong (registry-info.ts), also when the endpoints stay the same.
    const bytes = toBinary(ServiceSnapshotSchema, { ...snapshot, hidden: "" });
    if (bytes.length > SNAPSHOT_BYTES_MAX) {
      this.#events.warn(`discovery: ${service}: ${bytes.length} bytes of endpoints are too many to share`);
      return;
    }
    this.#withdrawn.delete(keyText({ registry, service }));
    this.#note({ registry, service }, bytes);
  }

  /** Nobody wants the service any more. */
  withdraw(registry: string, service: string): void {
    if (!this.isHolder(registry)) return;
    this.#withdrawn.add(keyText({ registry, service }));
    this.#note({ registry, service }, undefined);
  }

  /** Gives up its registries, so that another replica takes them over at once. */
  async close(): Promise<void> {
    this.#closed.abort();
    this.#claimNow();
    this.#writeNow();
    await this.#unfollow();
    await this.#running;
    await this.#dropRows().catch((error: unknown) => this.#failed(error));
    await this.#rows.release(this.holder).catch((error: unknown) => this.#failed(error));
  }

  #note(key: Key, bytes: Uint8Array | undefined): void {
    this.#unwritten.set(keyText(key), { key, bytes });
    this.#writeNow();
  }

  async #claim(): Promise<void> {
    const { signal } = this.#closed;
    while (!signal.aborted) {
      const wake = new AbortController();
      this.#claimNow = () => wake.abort();
      this.#unansweredSinceMs ??= performance.now();
      try {
        // Before it is claimed, if it came back at once: else what is found then would be deleted with what was before.
        await this.#dropRows();
        const wanted = [...this.#wanted].map((registry) => ({ registry, info: this.#describe(registry) }));
        this.#take(await this.#rows.claim(wanted, this.holder, HOLD_MS));
        this.#unansweredSinceMs = undefined;
      } catch (error) {
        // Whoever watches goes on: nobody else could take over either.
        this.#failed(error);
      }
      const stop = AbortSignal.any([signal, wake.signal]);
      await sleep(CLAIM_INTERVAL_MS, undefined, { signal: stop }).catch(() => undefined);
    }
  }

  /** Deletes the rows of deleted registries; those that another replica watches still are left to that one, as long as it lives. */
  async #dropRows(): Promise<void> {
    for (const registry of this.#dropped) {
      const isGone = await this.#rows.drop(registry, this.holder);
      if (isGone || this.#wanted.has(registry)) this.#dropped.delete(registry);
    }
  }

  #take(rows: readonly { readonly registry: string; readonly holder: string; readonly info: string }[]): void {
    const before = this.#watchers;
    this.#watchers = new Map(
      rows
        // What was claimed before it was deleted, and came back, will be dropped first.
        .filter(({ registry }) => this.#wanted.has(registry) && !this.#dropped.has(registry))
        .map((row) => [row.registry, row]),
    );
    for (const registry of this.#wanted) {
      const was = before.get(registry)?.holder === this.holder;
      if (was !== this.isHolder(registry)) this.#events.roleChanged(registry);
    }
  }

  async #write(): Promise<void> {
    const { signal } = this.#closed;
    while (!signal.aborted) {
      if (this.#unwritten.size === 0) {
        await new Promise<void>((resolve) => {
          this.#writeNow = resolve;
        });
      }
      await sleep(GATHER_MS, undefined, { signal }).catch(() => undefined);
      const writing = this.#unwritten;
      this.#unwritten = new Map();
      const all = [...writing.values()];
      const puts = all.flatMap(({ key, bytes }) => (bytes === undefined ? [] : [{ ...key, bytes }]));
      const gone = all.flatMap(({ key, bytes }) => (bytes === undefined ? [key] : []));
      try {
        if (all.length > 0) await this.#rows.write(this.holder, puts, gone);
      } catch (error) {
        this.#failed(error);
        // What changed again meanwhile is newer.
        this.#unwritten = new Map([...writing, ...this.#unwritten]);
        await sleep(RETRY_MS, undefined, { signal }).catch(() => undefined);
      }
    }
  }

  async #pull(keys: readonly Key[] | undefined): Promise<void> {
    let changed = keys;
    if (changed === undefined) {
      const index = await this.#rows.index();
      const there = new Set(index.map(keyText));
      for (const text of [...this.#found.keys()]) if (!there.has(text)) this.#forget(text);
      changed = index.filter((row) => this.#found.get(keyText(row))?.version !== row.version);
    }
    const rows = await this.#rows.read(changed);
    const read = new Set(rows.map(keyText));
    for (const key of changed) if (!read.has(keyText(key))) this.#forget(keyText(key));
    for (const { registry, service, version, bytes } of rows) {
      const text = keyText({ registry, service });
      this.#found.set(text, { version, snapshot: fromBinary(ServiceSnapshotSchema, bytes) });
      this.#wake(text);
    }
  }

  #forget(text: string): void {
    this.#found.delete(text);
    this.#withdrawn.delete(text);
  }

  #wake(text: string): void {
    for (const wake of this.#wakers.get(text) ?? []) wake();
  }

  #failed(error: unknown): void {
    const message = error instanceof Error ? error.message : String(error);
    if (!this.#closed.signal.aborted) this.#events.warn(`discovery: sharing with other replicas: ${message}`);
  }
}

const keyText = ({ registry, service }: Key): string => JSON.stringify([registry, service]);

const registryOf = (text: string): string => (JSON.parse(text) as [string, string])[0];
