/**
 * The joint between what is stored and what is served: it follows the store, translates what changed, and fills the
 * xDS cache.
 *
 * One of four things happens to it: the start (everything is translated once), a transaction (wait for quiet, but not
 * for long, and translate what it touched), a store that fails (wait, ask again: data planes keep what they have),
 * the end.
 */
import { setImmediate, setTimeout as sleep } from "node:timers/promises";

import type { Discovery } from "#sluice/model/v1/upstream_pb.ts";

import type { ChangedServices, Endpoints } from "./endpoints/endpoints.ts";
import { keyOf, keyText, type ObjectKey } from "./model/objects.ts";
import { StoreError } from "./store/errors.ts";
import type { Store } from "./store/store.ts";
import type { Transaction } from "./store/transaction.ts";
import type { ResourceChange } from "./translate/difference.ts";
import { GroupTranslation, type ObjectChange, type TranslationFailure } from "./translate/group.ts";
import type { ResourceCache, ResourceUpdate } from "./xds/cache.ts";

/** Transactions often come in a row; so long must none have come before they are translated together. */
const QUIET_MS = 10;
/** A store that never rests must not keep changes from data planes. */
const QUIET_MS_MAX = 200;

/** Transactions asked for at once, and pages per batch: what is left comes with the next one. */
const PAGE_SIZE = 200;
const PAGES_MAX = 20;

/** Objects translated in one go, before others have their turn. */
const SLICE_SIZE = 50;

/** Endpoints are encoded for so long in one go. */
const ENDPOINTS_SLICE_MS = 8;

const RETRY_MS_MIN = 100;
const RETRY_MS_MAX = 5_000;

/** What of the logger is used (pino's order of arguments). */
export interface RefreshLog {
  error(fields: object, message: string): void;
}

/** What one refresh did, for metrics. */
export interface RefreshReport {
  /** The store's revision that is served now. */
  readonly revision: bigint;
  readonly objects: number;
  /** Objects that could not be translated; they keep their last good resources. */
  readonly failures: number;
  /** Of translating and handing over, without the waiting. */
  readonly durationMs: number;
}

/** What of one gateway group is handed over: revisions of the store, both ends included, and the objects that they changed. */
export interface PublishedRevisions {
  readonly first: bigint;
  readonly last: bigint;
  readonly objects: readonly ObjectKey[];
}

/** Where resources go: the cache, or what follows them on their way to it. */
export interface RefreshTarget extends Pick<ResourceCache, "markReady"> {
  /** @param revisions undefined: no change of the model, but endpoints as registries tell them */
  update(group: string, updates: readonly ResourceUpdate[], revisions?: PublishedRevisions): unknown;
  removeGroup(group: string, revisions: PublishedRevisions): void;
}

/** Where changes come from and go to. */
export interface RefreshOptions {
  readonly store: Pick<Store, "snapshot" | "transactionsAfter" | "subscribe">;
  readonly cache: RefreshTarget;
  readonly endpoints: Pick<Endpoints, "latest" | "setRegistry" | "setService" | "removeGroup" | "settled" | "onChange">;
  readonly log: RefreshLog;
  /** Called after each refresh. */
  readonly report?: (report: RefreshReport) => void;
}

/** A refresh under way. */
export interface Refresh {
  /** Fulfilled when everything that was stored at the start is in the cache; rejected when the store can't be read. */
  readonly ready: Promise<void>;
  /** Stops following the store; fulfilled when nothing more will be written to the cache. */
  close(): Promise<void>;
}

/** Starts to keep the cache in step with the store. */
export function startRefresh(options: RefreshOptions): Refresh {
  const loop = new RefreshLoop(options);
  const ready = loop.fill();
  const done = ready.then(
    () => loop.follow(),
    // Whoever waits for `ready` hears of it.
    () => undefined,
  );
  return {
    ready,
    async close() {
      loop.close();
      await done;
    },
  };
}

class RefreshLoop {
  readonly #options: RefreshOptions;
  readonly #groups = new Map<string, GroupTranslation>();
  /** The objects that fail, with how: each is logged when it begins to, not each time. */
  readonly #failing = new Map<string, string>();
  readonly #closed = new AbortController();
  readonly #unsubscribe: () => void;
  /** Every object that was handed over, to know what is gone when the changes between are not kept. */
  readonly #known = new Map<string, ObjectKey>();
  #revision = 0n;
  #newest = 0n;
  #wake: () => void = () => {};

  constructor(options: RefreshOptions) {
    this.#options = options;
    // Before the snapshot is taken, so that no transaction falls between the two.
    this.#unsubscribe = options.store.subscribe((revision) => {
      if (revision > this.#newest) this.#newest = revision;
      this.#wake();
    });
  }

  close(): void {
    this.#unsubscribe();
    this.#closed.abort();
    this.#wake();
  }

  async fill(): Promise<void> {
    const { revision, objects } = await this.#options.store.snapshot();
    const all = objects.map((object) => ({ key: keyOf(object), object }));
    this.#follow(all);
    // What registries didn't say yet would look like services without instances.
    await this.#options.endpoints.settled();
    // Translating so much takes a while: what registries say of a service whose turn was over already is looked at again behind it.
    const meanwhile = new Map<string, Set<string>>();
    this.#options.endpoints.onChange((changed) => {
      for (const [group, keys] of changed) {
        const ofGroup = meanwhile.get(group) ?? new Set();
        meanwhile.set(group, ofGroup);
        for (const key of keys) ofGroup.add(key);
      }
    });
    await this.#publish(revision, all);
    this.#options.endpoints.onChange((changed) => void this.#publishEndpoints(changed));
    // A cache that is filled in part would look like removals to data planes.
    if (!this.#closed.signal.aborted) this.#options.cache.markReady();
    await this.#publishEndpoints(meanwhile);
  }

  async follow(): Promise<void> {
    let retryMs = RETRY_MS_MIN;
    while (!this.#closed.signal.aborted) {
      await this.#change();
      await this.#quiet();
      try {
        await this.#catchUp();
        retryMs = RETRY_MS_MIN;
      } catch (error) {
        if (this.#closed.signal.aborted) return;
        this.#options.log.error(
          { err: error, revision: String(this.#revision) },
          "refresh: can't follow the store; trying again",
        );
        await this.#sleep(retryMs);
        retryMs = Math.min(retryMs * 2, RETRY_MS_MAX);
      }
    }
  }

  /** Waits for a revision that is not served yet, or the end. */
  async #change(): Promise<void> {
    while (this.#newest <= this.#revision && !this.#closed.signal.aborted) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** Waits until no transaction has come for a while. */
  async #quiet(): Promise<void> {
    for (let waitedMs = 0; waitedMs < QUIET_MS_MAX; waitedMs += QUIET_MS) {
      const before = this.#newest;
      await this.#sleep(QUIET_MS);
      if (this.#newest === before) return;
    }
  }

  async #catchUp(): Promise<void> {
    let revision = this.#revision;
    // The newest state of each object; what it was between two transactions of a batch nobody needs to see.
    const changes = new Map<string, ObjectChange>();
    for (let page = 0; page < PAGES_MAX; page++) {
      const transactions = await this.#transactionsAfter(revision);
      if (transactions === undefined) {
        await this.#readAnew();
        return;
      }
      if (this.#closed.signal.aborted) return;
      for (const transaction of transactions) {
        for (const { key, after } of transaction.changes) changes.set(keyText(key), { key, object: after });
        revision = transaction.revision;
      }
      if (transactions.length < PAGE_SIZE) break;
    }
    // A revision that was told but can't be read yet (a replica that lags) must not make this a busy loop.
    if (revision === this.#revision) {
      await this.#sleep(RETRY_MS_MIN);
      return;
    }
    this.#follow([...changes.values()]);
    await this.#publish(revision, [...changes.values()]);
  }

  /** The next page; undefined if it is not kept any more. */
  async #transactionsAfter(revision: bigint): Promise<readonly Transaction[] | undefined> {
    try {
      return await this.#options.store.transactionsAfter(revision, PAGE_SIZE);
    } catch (error) {
      if (error instanceof StoreError && error.reason === "out_of_range") return undefined;
      throw error;
    }
  }

  /** Compares everything with what was handed over: for when the store doesn't keep the changes between. */
  async #readAnew(): Promise<void> {
    const { revision, objects } = await this.#options.store.snapshot();
    if (this.#closed.signal.aborted) return;
    const changes = new Map<string, ObjectChange>();
    for (const [text, key] of this.#known) changes.set(text, { key, object: undefined });
    for (const object of objects) changes.set(keyText(keyOf(object)), { key: keyOf(object), object });
    this.#follow([...changes.values()]);
    await this.#publish(revision, [...changes.values()]);
  }

  /** Tells which registries there are, and then what is wanted of them. */
  #follow(objects: readonly ObjectChange[]): void {
    const { endpoints } = this.#options;
    for (const { key, object } of objects) {
      if (key.kind !== "registry") continue;
      endpoints.setRegistry(key.gatewayGroup, key.name, object?.kind === "registry" ? object.value : undefined);
    }
    for (const { key, object } of objects) {
      if (key.kind === "gatewayGroup" && object === undefined) endpoints.removeGroup(key.gatewayGroup);
      if (key.kind !== "service") continue;
      const wanted = new Map<string, Discovery>();
      for (const { name, discovery } of object?.kind === "service" ? object.value.upstreams : []) {
        if (discovery !== undefined) wanted.set(name, discovery);
      }
      endpoints.setService(key.gatewayGroup, key.name, wanted);
    }
  }

  /** The way of endpoints: no wait, no other resource. However many changed, others have their turn every few milliseconds. */
  async #publishEndpoints(changed: ChangedServices): Promise<void> {
    for (const [group, keys] of changed) {
      let updates: ResourceChange[] = [];
      let startedMs = performance.now();
      const flush = () => {
        if (updates.length > 0 && !this.#closed.signal.aborted) this.#options.cache.update(group, updates);
        updates = [];
      };
      for (const key of keys) {
        // The group may have gone meanwhile.
        updates.push(...(this.#groups.get(group)?.endpointsChanged(key) ?? []));
        if (performance.now() - startedMs < ENDPOINTS_SLICE_MS) continue;
        flush();
        await setImmediate();
        startedMs = performance.now();
      }
      flush();
    }
  }

  /** Translates objects and hands over what that changes, each group in one update. */
  async #publish(revision: bigint, objects: readonly ObjectChange[]): Promise<void> {
    const started = performance.now();
    const failures: TranslationFailure[] = [];
    for (const [group, ofGroup] of Map.groupBy(objects, ({ key }) => key.gatewayGroup)) {
      const revisions = { first: this.#revision + 1n, last: revision, objects: ofGroup.map(({ key }) => key) };
      const own = ofGroup.find(({ key }) => key.kind === "gatewayGroup");
      if (own !== undefined && own.object === undefined) {
        this.#groups.delete(group);
        this.#options.cache.removeGroup(group, revisions);
        continue;
      }
      const translation =
        this.#groups.get(group) ??
        new GroupTranslation((discovery) => this.#options.endpoints.latest(group, discovery));
      this.#groups.set(group, translation);
      for (const [at, object] of ofGroup.entries()) {
        const failure = translation.stage(object);
        if (failure !== undefined) failures.push(failure);
        // Streams and the admin API must be served meanwhile.
        if (at % SLICE_SIZE === SLICE_SIZE - 1) await setImmediate();
      }
      if (this.#closed.signal.aborted) return;
      this.#options.cache.update(group, translation.commit(), revisions);
    }
    for (const { key, object } of objects) {
      if (object === undefined) this.#known.delete(keyText(key));
      else this.#known.set(keyText(key), key);
    }
    this.#log(objects, failures);
    this.#revision = revision;
    const durationMs = performance.now() - started;
    this.#options.report?.({ revision, objects: objects.length, failures: failures.length, durationMs });
  }

  /** Logs objects that could not be translated, and forgets those that now could. */
  #log(objects: readonly ObjectChange[], failures: readonly TranslationFailure[]): void {
    const failed = new Map(failures.map(({ key, error }) => [keyText(key), error]));
    for (const { key } of objects) if (!failed.has(keyText(key))) this.#failing.delete(keyText(key));
    for (const [key, error] of failed) {
      const message = error instanceof Error ? error.message : String(error);
      if (this.#failing.get(key) === message) continue;
      this.#failing.set(key, message);
      const said = "refresh: an object can't be translated; data planes keep what they have of it";
      this.#options.log.error({ err: error, object: key }, said);
    }
  }

  async #sleep(ms: number): Promise<void> {
    // Only close() aborts it.
    await sleep(ms, undefined, { signal: this.#closed.signal }).catch(() => undefined);
  }
}
