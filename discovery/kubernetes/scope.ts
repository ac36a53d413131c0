import { isDeepStrictEqual } from "node:util";

import { turn } from "../turns.ts";
import type { KubernetesApi } from "./api.ts";
import { nameOf, type ReflectTimes, reflect, type Sink } from "./reflect.ts";
import {
  type EndpointSlice,
  saysTheSame,
  type Service,
  type ServiceInfo,
  type Slice,
  toServiceInfo,
  toSlice,
} from "./slices.ts";
import { ownerOf, SlicesByService } from "./slices-by-service.ts";

/** The part of a cluster that one pair of watches covers: a namespace, or all of them. */
export type ScopeName = { readonly namespace: string } | "all";

/** The state of one service, now. */
export interface ScopeEntry {
  readonly service: ServiceInfo | undefined;
  readonly slices: Iterable<Slice>;
  /** It was learnt by a list, so that nothing says what happened before. */
  readonly discontinuous: boolean;
}

/**
 * All Services and EndpointSlices of a scope, kept by two watches however many services are asked for. Runs from its making until it is
 * closed or a watch fails; then `failed` says why, and it is of no more use.
 */
export class Scope {
  readonly #abort = new AbortController();
  #services = new Map<string, ServiceInfo>();
  #slices = new SlicesByService();
  /** Lists, which mostly have one: a set for each of thousands of services is a megabyte. */
  readonly #listeners = new Map<string, readonly (() => void)[]>();
  /** Services that the latest list changed, until an event touches them. */
  readonly #fromList = new Set<string>();
  #listed = 0;
  #becomeReady: () => void = () => {};
  /** Settles once both lists are there, or fails. */
  readonly ready: Promise<void>;
  /** Rejects when a watch fails; never resolves. */
  readonly failed: Promise<never>;
  /** Why a watch has failed. */
  failure: { readonly error: unknown } | undefined;

  constructor(api: KubernetesApi, name: ScopeName, times?: ReflectTimes) {
    const within = name === "all" ? "" : `/namespaces/${encodeURIComponent(name.namespace)}`;
    const common = { api, signal: this.#abort.signal, ...(times === undefined ? {} : { times }) };
    this.failed = Promise.race([
      reflect<EndpointSlice, Slice | undefined>({
        ...common,
        path: `/apis/discovery.k8s.io/v1${within}/endpointslices`,
        sink: this.#sliceSink(),
      }),
      reflect<Service, ServiceInfo>({ ...common, path: `/api/v1${within}/services`, sink: this.#serviceSink() }),
    ]).finally(() => this.#abort.abort());
    this.failed.catch((error: unknown) => {
      this.failure = { error };
      for (const listeners of [...this.#listeners.values()]) for (const listener of listeners) listener();
    });
    this.ready = Promise.race([new Promise<void>((resolve) => (this.#becomeReady = resolve)), this.failed]);
    this.ready.catch(() => {});
  }

  /** The state of the service `namespace/name`. */
  get(id: string): ScopeEntry {
    return {
      service: this.#services.get(id),
      slices: this.#slices.services.get(id) ?? [],
      discontinuous: this.#fromList.has(id),
    };
  }

  /** All Services, in any order. */
  get services(): Iterable<ServiceInfo> {
    return this.#services.values();
  }

  /** Calls `listener` whenever the service may have changed, and when a watch has failed, until the function that it returns is called. */
  onChange(id: string, listener: () => void): () => void {
    this.#listeners.set(id, [...(this.#listeners.get(id) ?? []), listener]);
    return () => {
      const others = this.#listeners.get(id)?.filter((each) => each !== listener) ?? [];
      if (others.length === 0) this.#listeners.delete(id);
      else this.#listeners.set(id, others);
    };
  }

  /** Ends the watches. */
  close(): void {
    this.#abort.abort();
  }

  #changed(id: string, fromList: boolean): void {
    if (fromList) this.#fromList.add(id);
    else this.#fromList.delete(id);
    for (const listener of this.#listeners.get(id) ?? []) listener();
  }

  #listDone(): void {
    this.#listed++;
    // Of either kind one: the second list of a kind comes only after 410.
    if (this.#listed === 2) this.#becomeReady();
  }

  #serviceSink(): Sink<Service, ServiceInfo> {
    let first = true;
    return {
      keep: (service) => toServiceInfo(service, this.#services.get(nameOf(service))),
      replace: async (objects) => {
        const now = new Map(objects);
        const changed = await changes(this.#services, now, isDeepStrictEqual);
        await this.#tell(changed, () => (this.#services = now));
        if (first) this.#listDone();
        first = false;
      },
      set: (id, info) => {
        this.#services.set(id, info);
        this.#changed(id, false);
      },
      delete: (id) => {
        if (this.#services.delete(id)) this.#changed(id, false);
      },
    };
  }

  #sliceSink(): Sink<EndpointSlice, Slice | undefined> {
    let first = true;
    const put = (name: string, slice: Slice | undefined): string[] => {
      const touched = this.#slices.owner(name) === ownerOf(slice) ? [] : this.#slices.delete(name);
      return slice === undefined ? touched : [...touched, ...this.#slices.set(name, slice)];
    };
    return {
      keep: (slice) => toSlice(slice, this.#slices.get(nameOf(slice))),
      replace: async (objects) => {
        const now = new SlicesByService();
        for (const [name, slice] of objects) {
          await turn();
          if (slice !== undefined) now.set(name, slice);
        }
        const changed = await changes(this.#slices.services, now.services, isSameSet);
        // All at once: a service whose slices were renamed is never seen without any.
        await this.#tell(changed, () => (this.#slices = now));
        if (first) this.#listDone();
        first = false;
      },
      set: (name, slice) => {
        for (const id of put(name, slice)) this.#changed(id, false);
      },
      delete: (name) => {
        for (const id of this.#slices.delete(name)) this.#changed(id, false);
      },
    };
  }

  /** Puts a new list in place, and tells of what it changed. */
  async #tell(changed: readonly string[], put: () => void): Promise<void> {
    // Before anybody looks: nothing says what happened between the two lists.
    for (const id of changed) this.#fromList.add(id);
    put();
    for (const id of changed) {
      await turn();
      this.#changed(id, true);
    }
  }
}

/** The keys whose values came, went or are not the same. */
async function changes<Value>(
  before: ReadonlyMap<string, Value>,
  now: ReadonlyMap<string, Value>,
  isSame: (one: Value, other: Value) => boolean,
): Promise<string[]> {
  const changed: string[] = [];
  for (const [key, value] of before) {
    await turn();
    const other = now.get(key);
    if (other === undefined || !isSame(value, other)) changed.push(key);
  }
  for (const key of now.keys()) if (!before.has(key)) changed.push(key);
  return changed;
}

/** Whether slices say the same. Their versions change with what nobody reads as well: annotations, who wrote them last. */
const isSameSet = (before: readonly Slice[], now: readonly Slice[]): boolean =>
  before.length === now.length &&
  before.every((slice) => {
    const other = now.find(({ name }) => name === slice.name);
    return other !== undefined && saysTheSame(slice, other);
  });
