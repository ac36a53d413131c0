/**
 * Views of a gateway group that one data plane has before the others: what is published, with some resources replaced. A view costs what
 * it replaces; all other resources are those of the cache, and change with it.
 */
import { resourceType, routeConfigurationOf } from "#proto/resource-types.ts";

import type { ResourceCache, ResourceChange, ResourceUpdate } from "./cache.ts";
import type { Watcher } from "./interest.ts";
import { type CachedResource, cachedResource, type ResourceSet, setVersion, versionOf } from "./resource.ts";
import type { NodeIdentity } from "./status.ts";
import { type RouteParts, WHOLE_ROUTES, WholeRoutes } from "./whole-routes.ts";

const RDS = resourceType("RDS").typeUrl;
const VHDS = resourceType("VHDS").typeUrl;

/** Who is meant: a node of a gateway group. */
type Who = Pick<NodeIdentity, "id" | "gatewayGroup">;

/** Resources by name; undefined: gone in the view. */
type Replaced = ReadonlyMap<string, CachedResource | undefined>;

interface Candidate {
  readonly nodeId: string;
  readonly byType: ReadonlyMap<string, Replaced>;
  /** What is published of virtual hosts doesn't change while there is a candidate, so that what is put together once stays. */
  readonly wholeRoutes: WholeRoutes;
}

/** The views of all gateway groups, at most one each. */
export class Candidates {
  readonly #cache: ResourceCache;
  readonly #candidates = new Map<string, Candidate>();
  /** The streams of each node, which are told when their view changes. */
  readonly #watchers = new Map<string, Set<Watcher>>();

  constructor(cache: ResourceCache) {
    this.#cache = cache;
  }

  /** The resources of a view (a type URL, or WHOLE_ROUTES) as a stream of this node may serve them now; undefined as of the cache. */
  resources({ id, gatewayGroup }: Who, view: string): ResourceSet | undefined {
    const base = this.#cache.resources(gatewayGroup, view);
    const candidate = this.#candidates.get(gatewayGroup);
    if (base === undefined || candidate?.nodeId !== id) return base;
    if (view === WHOLE_ROUTES) return candidate.wholeRoutes;
    const replaced = candidate.byType.get(view);
    return replaced === undefined ? base : new CandidateSet(base, replaced);
  }

  /** The resources of a type as the first data plane to be served them has them: what is published, where there is none. */
  newest(gatewayGroup: string, view: string): ResourceSet | undefined {
    const id = this.#candidates.get(gatewayGroup)?.nodeId ?? "";
    return this.resources({ id, gatewayGroup }, view);
  }

  /** A stream of a node is told when the node's view changes. Returns what ends that. */
  attach(who: Who, watcher: Watcher): () => void {
    const key = keyOf(who);
    const watchers = this.#watchers.get(key) ?? new Set();
    this.#watchers.set(key, watchers.add(watcher));
    return () => {
      watchers.delete(watcher);
      if (watchers.size === 0 && this.#watchers.get(key) === watchers) this.#watchers.delete(key);
    };
  }

  /** From now on one data plane is served these resources in place of those that are published; whoever was before goes back. */
  offer(who: Who, updates: Iterable<ResourceUpdate>): void {
    const { id: nodeId, gatewayGroup } = who;
    const before = this.#candidates.get(gatewayGroup);
    if (before !== undefined && before.nodeId !== nodeId) this.withdraw(gatewayGroup);
    const byType = new Map<string, Map<string, CachedResource | undefined>>();
    for (const { typeUrl, name, bytes } of updates) {
      const ofType = byType.get(typeUrl) ?? new Map<string, CachedResource | undefined>();
      byType.set(
        typeUrl,
        ofType.set(name, bytes === null ? undefined : cachedResource(typeUrl, name, versionOf(bytes), bytes)),
      );
    }
    const partsOf = (typeUrl: string): RouteParts | undefined => {
      const base = this.#cache.resources(gatewayGroup, typeUrl);
      return base && new CandidateSet(base, byType.get(typeUrl) ?? new Map());
    };
    this.#switch(who, { nodeId, byType, wholeRoutes: new WholeRoutes(partsOf) });
  }

  /** The data plane goes back to what is published. */
  withdraw(gatewayGroup: string): void {
    const candidate = this.#candidates.get(gatewayGroup);
    if (candidate !== undefined) this.#switch({ id: candidate.nodeId, gatewayGroup }, undefined);
  }

  /** Tells the node's streams of each resource that is another in the new view. */
  #switch(who: Who, next: Candidate | undefined): void {
    const before = this.#candidates.get(who.gatewayGroup);
    const types = new Set([...(before?.byType.keys() ?? []), ...(next?.byType.keys() ?? [])]);
    const changes = new Map<string, ResourceChange[]>();
    for (const typeUrl of types) {
      const [old, replaced] = [before?.byType.get(typeUrl), next?.byType.get(typeUrl)];
      const base = this.#cache.resources(who.gatewayGroup, typeUrl);
      const seen = (view: Replaced | undefined, name: string) => (view?.has(name) ? view.get(name) : base?.get(name));
      const ofType: ResourceChange[] = [];
      for (const name of new Set([...(old?.keys() ?? []), ...(replaced?.keys() ?? [])])) {
        const [was, is] = [seen(old, name), seen(replaced, name)];
        if (was?.version !== is?.version) ofType.push({ name, before: was, exists: is !== undefined });
      }
      if (ofType.length > 0) changes.set(typeUrl, ofType);
    }
    if (next === undefined) this.#candidates.delete(who.gatewayGroup);
    else this.#candidates.set(who.gatewayGroup, next);
    const ofWhole = this.#changesOfWhole(who, changes);
    if (ofWhole.length > 0) changes.set(WHOLE_ROUTES, ofWhole);
    for (const watcher of this.#watchers.get(keyOf(who)) ?? []) {
      for (const [view, ofView] of changes) watcher.changed(view, ofView);
    }
  }

  /** What changes by type mean to those who take route configurations whole. */
  #changesOfWhole(who: Who, changes: ReadonlyMap<string, readonly ResourceChange[]>): ResourceChange[] {
    const names = new Set(changes.get(RDS)?.map(({ name }) => name));
    for (const { name } of changes.get(VHDS) ?? []) names.add(routeConfigurationOf(name) ?? "");
    const now = this.resources(who, RDS);
    return Array.from(names, (name) => ({ name, before: undefined, exists: now?.has(name) === true }));
  }
}

/** A set of the cache with some resources replaced. */
class CandidateSet implements RouteParts {
  readonly #base: ResourceSet;
  readonly #replaced: Replaced;

  constructor(base: ResourceSet, replaced: Replaced) {
    this.#base = base;
    this.#replaced = replaced;
  }

  get(name: string): CachedResource | undefined {
    return this.#replaced.has(name) ? this.#replaced.get(name) : this.#base.get(name);
  }

  has(name: string): boolean {
    return this.get(name) !== undefined;
  }

  get size(): number {
    let { size } = this.#base;
    for (const [name, resource] of this.#replaced) {
      size += Number(resource !== undefined) - Number(this.#base.has(name));
    }
    return size;
  }

  *values(): Iterable<CachedResource> {
    for (const resource of this.#base.values()) if (!this.#replaced.has(resource.name)) yield resource;
    for (const resource of this.#replaced.values()) if (resource !== undefined) yield resource;
  }

  *keys(): Iterable<string> {
    for (const { name } of this.values()) yield name;
  }

  get version(): string {
    let sum = BigInt(`0x${this.#base.version}`);
    for (const [name, resource] of this.#replaced) {
      sum += (resource?.setHash ?? 0n) - (this.#base.get(name)?.setHash ?? 0n);
    }
    return setVersion(sum);
  }
}

// Neither may hold a NUL (xds/node.ts).
const keyOf = ({ gatewayGroup, id }: Who) => `${gatewayGroup}\0${id}`;
