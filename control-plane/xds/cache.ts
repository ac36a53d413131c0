import { hash } from "node:crypto";

import { InterestIndex, type Watcher } from "./interest.ts";
import { encodeEntry, type ResourceEntry } from "./wire.ts";

/** A resource as it is served: encoded once, shared by all streams, never changed. */
export interface CachedResource extends ResourceEntry {
  readonly name: string;
  /** A hash of the content: the same on every replica and after every restart (rule S17). */
  readonly version: string;
  /** What the resource adds to the hash of a set. */
  readonly setHash: bigint;
  /** Since when this content is served, in milliseconds since the epoch; 0 for what is made when it is asked for. */
  readonly sinceMs: number;
}

/** What happened to one name: `after` is undefined when the resource is gone, `before` when it is new. */
export interface ResourceChange {
  readonly name: string;
  readonly before: CachedResource | undefined;
  readonly after: CachedResource | undefined;
}

/** What the translator says of one name. */
export interface ResourceUpdate {
  readonly typeUrl: string;
  readonly name: string;
  /** The encoded resource message; null removes the resource. */
  readonly bytes: Uint8Array | null;
}

/** All resources of one type in one gateway group. */
export interface ResourceSet extends Pick<ReadonlyMap<string, CachedResource>, "get" | "has" | "size"> {
  values(): Iterable<CachedResource>;
  /** A hash of all names and contents, whatever their order. */
  readonly version: string;
}

const SET_HASH_BITS = 64;

/** The version of a set whose `setHash`es add up to `sum`. */
export const setVersion = (sum: bigint): string => BigInt.asUintN(SET_HASH_BITS, sum).toString(16).padStart(16, "0");

class MutableResourceSet extends Map<string, CachedResource> implements ResourceSet {
  /** The sum of the members' hashes: follows each change without a look at the others. */
  sum = 0n;

  get version(): string {
    return setVersion(this.sum);
  }
}

const empty: ResourceSet = new MutableResourceSet();

interface Group {
  readonly types: Map<string, MutableResourceSet>;
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
    if (target === undefined) this.#groups.set(group, (target = { types: new Map() }));
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
    if (!this.#ready) return changed;
    if (isNew) this.#tellGroup(group);
    else for (const [typeUrl, ofType] of changes) this.#audiences.get(group)?.interest.tell(typeUrl, ofType);
    return changed;
  }

  /**
   * Forgets a group. Data planes that serve it are told nothing and keep what they have (a mistake here must not stop traffic); if the
   * group comes back, they are sent the difference.
   */
  removeGroup(group: string): void {
    if (this.#groups.delete(group) && this.#ready) this.#tellGroup(group);
  }

  /** The resources of a type as a stream may serve them now; undefined while the group doesn't exist or the cache is not ready. */
  resources(group: string, typeUrl: string): ResourceSet | undefined {
    if (!this.#ready) return undefined;
    const found = this.#groups.get(group);
    return found === undefined ? undefined : (found.types.get(typeUrl) ?? empty);
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
    set.delete(name);
    set.sum -= before.setHash;
    return { name, before, after: undefined };
  }
  const version = hash("sha256", bytes, "hex").slice(0, 16);
  if (before?.version === version) return undefined;
  const after = cached(typeUrl, name, version, bytes);
  if (set === undefined) group.types.set(typeUrl, (set = new MutableResourceSet()));
  set.set(name, after);
  set.sum += after.setHash - (before?.setHash ?? 0n);
  return { name, before, after };
}

function cached(typeUrl: string, name: string, version: string, bytes: Uint8Array): CachedResource {
  const setHash = BigInt(`0x${hash("sha256", `${version} ${name}`, "hex").slice(0, SET_HASH_BITS / 4)}`);
  return { name, version, setHash, sinceMs: Date.now(), ...encodeEntry(name, version, typeUrl, bytes) };
}
