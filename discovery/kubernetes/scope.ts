import type { KubernetesApi } from "./api.ts";
import { type ReflectTimes, reflect, type Sink } from "./reflect.ts";
import { type EndpointSlice, type Service, type ServiceInfo, type Slice, toServiceInfo, toSlice } from "./slices.ts";

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
  readonly #services = new Map<string, ServiceInfo>();
  /** By the name of their service, then by their own. */
  readonly #slices = new Map<string, Map<string, Slice>>();
  readonly #listeners = new Map<string, Set<() => void>>();
  /** Services that the latest list changed, until an event touches them. */
  readonly #fromList = new Set<string>();
  #listed = 0;
  #becomeReady: () => void = () => {};
  /** Settles once both lists are there, or fails. */
  readonly ready: Promise<void>;
  /** Rejects when a watch fails; never resolves. */
  readonly failed: Promise<never>;

  constructor(api: KubernetesApi, name: ScopeName, times?: ReflectTimes) {
    const within = name === "all" ? "" : `/namespaces/${encodeURIComponent(name.namespace)}`;
    const common = { api, signal: this.#abort.signal, ...(times === undefined ? {} : { times }) };
    this.failed = Promise.race([
      reflect<EndpointSlice>({
        ...common,
        path: `/apis/discovery.k8s.io/v1${within}/endpointslices`,
        sink: this.#sliceSink(),
      }),
      reflect<Service>({ ...common, path: `/api/v1${within}/services`, sink: this.#serviceSink() }),
    ]).finally(() => this.#abort.abort());
    // Whoever watches a service waits for it; when nobody does it concerns nobody.
    this.failed.catch(() => {});
    this.ready = Promise.race([new Promise<void>((resolve) => (this.#becomeReady = resolve)), this.failed]);
    this.ready.catch(() => {});
  }

  /** The state of the service `namespace/name`. */
  get(id: string): ScopeEntry {
    return {
      service: this.#services.get(id),
      slices: this.#slices.get(id)?.values() ?? [],
      discontinuous: this.#fromList.has(id),
    };
  }

  /** All Services, in any order. */
  get services(): Iterable<ServiceInfo> {
    return this.#services.values();
  }

  /** Calls `listener` whenever the service may have changed, until the function that it returns is called. */
  onChange(id: string, listener: () => void): () => void {
    const listeners = this.#listeners.get(id) ?? new Set();
    this.#listeners.set(id, listeners.add(listener));
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0) this.#listeners.delete(id);
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

  #serviceSink(): Sink<Service> {
    let first = true;
    return {
      replace: (objects) => {
        const gone = new Set(this.#services.keys());
        for (const object of objects) {
          const info = toServiceInfo(object);
          const id = idOf(info);
          gone.delete(id);
          const known = this.#services.get(id);
          this.#services.set(id, info);
          if (known?.version !== info.version) this.#changed(id, true);
        }
        for (const id of gone) {
          this.#services.delete(id);
          this.#changed(id, true);
        }
        if (first) this.#listDone();
        first = false;
      },
      set: (object) => {
        const info = toServiceInfo(object);
        this.#services.set(idOf(info), info);
        this.#changed(idOf(info), false);
      },
      delete: (object) => {
        const id = idOf(toServiceInfo(object));
        if (this.#services.delete(id)) this.#changed(id, false);
      },
    };
  }

  #sliceSink(): Sink<EndpointSlice> {
    let first = true;
    /** The service that each slice belongs to: a label may be changed or taken off. */
    const owners = new Map<string, string>();
    const put = (object: EndpointSlice): string[] => {
      const slice = toSlice(object);
      const name = `${object.metadata.namespace}/${object.metadata.name}`;
      const before = owners.get(name);
      const id = slice === undefined ? undefined : `${slice.namespace}/${slice.service}`;
      const touched: string[] = [];
      if (before !== undefined && before !== id) touched.push(...take(name));
      if (slice === undefined || id === undefined) return touched;
      const slices = this.#slices.get(id) ?? new Map<string, Slice>();
      const known = slices.get(slice.name);
      this.#slices.set(id, slices.set(slice.name, slice));
      owners.set(name, id);
      if (known?.version !== slice.version) touched.push(id);
      return touched;
    };
    const take = (name: string): string[] => {
      const id = owners.get(name);
      if (id === undefined) return [];
      owners.delete(name);
      const slices = this.#slices.get(id);
      slices?.delete(name.slice(name.indexOf("/") + 1));
      if (slices?.size === 0) this.#slices.delete(id);
      return [id];
    };
    return {
      replace: (objects) => {
        const gone = new Set(owners.keys());
        const touched = new Set<string>();
        for (const object of objects) {
          gone.delete(`${object.metadata.namespace}/${object.metadata.name}`);
          for (const id of put(object)) touched.add(id);
        }
        for (const name of gone) for (const id of take(name)) touched.add(id);
        // Told when all is in place: a service whose slices were renamed is never seen without any.
        for (const id of touched) this.#changed(id, true);
        if (first) this.#listDone();
        first = false;
      },
      set: (object) => {
        for (const id of put(object)) this.#changed(id, false);
      },
      delete: (object) => {
        const name = `${object.metadata.namespace}/${object.metadata.name}`;
        for (const id of take(name)) this.#changed(id, false);
      },
    };
  }
}

const idOf = ({ namespace, name }: ServiceInfo) => `${namespace}/${name}`;
