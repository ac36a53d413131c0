import { resourceType, routeConfigurationOf } from "#proto/resource-types.ts";

import { InterestIndex, type Watcher } from "./interest.ts";
import { PastSets } from "./past-sets.ts";
import { type CachedResource, cachedResource, type ResourceSet, setVersion, versionOf } from "./resource.ts";
import { WHOLE_ROUTES, WholeRoutes } from "./whole-routes.ts";

export { setVersion } from "./resource.ts";
export type { CachedResource, ResourceSet } from "./resource.ts";

/** What happened to one name. */
export interface ResourceChange {
  readonly name: string;
  /** Undefined when the resource is new, or is put together for those who ask (whole-routes.ts). */
  readonly before: CachedResource | undefined;
  /** Whether there is such a resource now. */
  readonly exists: boolean;
}

/** What the translator says of one name. */
export interface ResourceUpdate {
  readonly typeUrl: string;
  readonly name: string;
  /** The encoded resource message; null removes the resource. */
  readonly bytes: Uint8Array | null;
}

const CDS = resourceType("CDS").typeUrl;
const RDS = resourceType("RDS").typeUrl;
const VHDS = resourceType("VHDS").typeUrl;

class MutableResourceSet extends Map<string, CachedResource> implements ResourceSet {
  /** The sum of the members' hashes: follows each change without a look at the others. */
  sum = 0n;
  /** What the set was lately, where others refer to its members; see PastSets. */
  readonly pastSets: PastSets | undefined;
  #names: ReadonlySet<string> | undefined;

  constructor(pastSets?: PastSets) {
    super();
    this.pastSets = pastSets;
  }

  get version(): string {
    return setVersion(this.sum);
  }

  get names(): ReadonlySet<string> {
    this.#names ??= new Set(this.keys());
    return this.#names;
  }

  past(version: string) {
    return this.pastSets?.find(version, this.sum);
  }

  override set(name: string, resource: CachedResource): this {
    if (!this.has(name)) this.#names = undefined;
    return super.set(name, resource);
  }

  override delete(name: string): boolean {
    this.#names = undefined;
    return super.delete(name);
  }
}

const empty: ResourceSet = new MutableResourceSet();

class Group {
  readonly types = new Map<string, MutableResourceSet>();
  /** Route configurations with their virtual hosts in them. */
  readonly wholeRoutes = new WholeRoutes((typeUrl) => this.types.get(typeUrl));

  /** What changes by type mean to those who take route configurations whole. */
  changesOfWhole(changes: ReadonlyMap<string, readonly ResourceChange[]>): ResourceChange[] {
    const routes = this.types.get(RDS);
    const names = new Set<string>();
    for (const { name } of changes.get(RDS) ?? []) names.add(name);
    for (const { name } of changes.get(VHDS) ?? []) {
      const owner = routeConfigurationOf(name);
      // A virtual host whose route configuration is not there concerns nobody.
      if (owner !== undefined && routes?.has(owner)) names.add(owner);
    }
    return Array.from(names, (name) => {
      this.wholeRoutes.forget(name);
      return { name, before: undefined, exists: routes?.has(name) === true };
    });
  }
}

interface Audience {
  readonly watchers: Set<Watcher>;
  readonly interest: InterestIndex;
}

/**
 * The resources of every gateway group, encoded, and who is to be told when one changes. An update costs what changed and who wants it,
 * never what there is. By Sluice's convention a ClusterLoadAssignment bears the name of its cluster.
 */
export class ResourceCache {
  readonly #groups = new Map<string, Group>();
  readonly #audiences = new Map<string, Audience>();
  #ready = false;

  /**
   * Whether the first fill is complete. Nothing is served before: what is missing from a half-filled cache would look like removals to
   * data planes that reconnect (lesson 14).
   */
  get ready(): boolean {
    return this.#ready;
  }

  /** The first fill is complete: streams that wait are served. */
  markReady(): void {
    if (this.#ready) return;
    this.#ready = true;
    for (const group of this.#audiences.keys()) this.#tellGroup(group);
  }

  /** Whether the group exists, with resources or without. */
  hasGroup(group: string): boolean {
    return this.#groups.has(group);
  }

  /**
   * Writes resources of a group, which comes into being by its first update, be it empty. Content that stays as it was is no change.
   *
   * @returns how many resources changed
   */
  update(group: string, updates: readonly ResourceUpdate[]): number {
    let target = this.#groups.get(group);
    const isNew = target === undefined;
    if (target === undefined) this.#groups.set(group, (target = new Group()));
    const changes = new Map<string, ResourceChange[]>();
    let changed = 0;
    for (const update of updates) {
      const change = write(target, update);
      if (change === undefined) continue;
      changed++;
      const ofType = changes.get(update.typeUrl);
      if (ofType === undefined) changes.set(update.typeUrl, [change]);
      else ofType.push(change);
    }
    const ofWhole = target.changesOfWhole(changes);
    if (ofWhole.length > 0) changes.set(WHOLE_ROUTES, ofWhole);
    if (!this.#ready) return changed;
    if (isNew) this.#tellGroup(group);
    else for (const [view, ofView] of changes) this.#audiences.get(group)?.interest.tell(view, ofView);
    return changed;
  }

  /**
   * Forgets a group. Data planes that serve it are told nothing and keep what they have (a mistake here must not stop traffic); if the
   * group comes back, they are sent the difference.
   */
  removeGroup(group: string): void {
    if (this.#groups.delete(group) && this.#ready) this.#tellGroup(group);
  }

  /**
   * The resources of a type as a stream may serve them now; undefined while the group doesn't exist or the cache is not ready.
   *
   * @param view a type URL, or WHOLE_ROUTES
   */
  resources(group: string, view: string): ResourceSet | undefined {
    if (!this.#ready) return undefined;
    const found = this.#groups.get(group);
    if (found === undefined) return undefined;
    return view === WHOLE_ROUTES ? found.wholeRoutes : (found.types.get(view) ?? empty);
  }

  /**
   * Takes what happened to a group's clusters before the first fill, the oldest first, so that a client which holds what they were is understood.
   * Undefined bytes: there was, or is, no such cluster.
   */
  recall(
    group: string,
    steps: readonly {
      readonly name: string;
      readonly before: Uint8Array | undefined;
      readonly after: Uint8Array | undefined;
    }[],
  ): void {
    const target = this.#groups.get(group);
    if (target === undefined) return;
    const set = setOf(target, CDS);
    const resource = (name: string, bytes: Uint8Array | undefined) =>
      bytes && cachedResource(CDS, name, versionOf(bytes), bytes);
    const changes = steps.map(({ name, before, after }) => ({
      ...{ name, before: resource(name, before), after: resource(name, after) },
    }));
    set.pastSets?.recall(changes, set.sum);
  }

  /** How many resources of each type all groups have together. */
  counts(): Map<string, number> {
    const counts = new Map<string, number>();
    for (const { types } of this.#groups.values()) {
      for (const [typeUrl, set] of types) counts.set(typeUrl, (counts.get(typeUrl) ?? 0) + set.size);
    }
    return counts;
  }

  /** Joins the audience of a group, which need not exist. The watcher is told of the names that it adds to `interest`. */
  attach(group: string, watcher: Watcher): { readonly interest: InterestIndex; detach(): void } {
    let audience = this.#audiences.get(group);
    if (audience === undefined) {
      this.#audiences.set(group, (audience = { watchers: new Set(), interest: new InterestIndex() }));
    }
    const { watchers, interest } = audience;
    watchers.add(watcher);
    const detach = () => {
      watchers.delete(watcher);
      if (watchers.size === 0) this.#audiences.delete(group);
    };
    return { interest, detach };
  }

  #tellGroup(group: string): void {
    for (const watcher of this.#audiences.get(group)?.watchers ?? []) watcher.groupChanged();
  }
}

function write(group: Group, { typeUrl, name, bytes }: ResourceUpdate): ResourceChange | undefined {
  let set = group.types.get(typeUrl);
  const before = set?.get(name);
  if (bytes === null) {
    if (set === undefined || before === undefined) return undefined;
    const removal = { name, before, exists: false };
    set.pastSets?.note(set.sum, removal);
    set.delete(name);
    set.sum -= before.setHash;
    return removal;
  }
  const version = versionOf(bytes);
  if (before?.version === version) return undefined;
  const after = cachedResource(typeUrl, name, version, bytes);
  set ??= setOf(group, typeUrl);
  const change = { name, before, exists: true };
  set.pastSets?.note(set.sum, change);
  set.set(name, after);
  set.sum += after.setHash - (before?.setHash ?? 0n);
  return change;
}

/** The set of a type, which comes into being by its first use. */
function setOf(group: Group, typeUrl: string): MutableResourceSet {
  let set = group.types.get(typeUrl);
  if (set === undefined) {
    set = new MutableResourceSet(typeUrl === CDS ? new PastSets() : undefined);
    group.types.set(typeUrl, set);
  }
  return set;
}
