import type { ResourceCache, ResourceUpdate } from "../xds/cache.ts";
import type { Publications } from "../xds/publications.ts";
import type { NodeIdentity, NodeListener, NodeRegistry, Outstanding, Refusal } from "../xds/status.ts";
import { type Blame, type BlamedObject, refusedResources } from "./blame.ts";
import type { RolloutMetrics } from "./metrics.ts";
import { type Published, RolloutRecord } from "./record.ts";

/** Rollouts that are remembered of each gateway group. */
const KEPT_MAX = 50;

/** Gateway groups that are gone whose rollouts are remembered. */
const GONE_GROUPS_MAX = 100;

const none: readonly RolloutRecord[] = [];

/** Refusals whose objects are remembered. */
const BLAMED_MAX = 1_000;

/** Where a rollout's resources are written to: the cache, or what stands before it. */
export type RolloutTarget = Pick<ResourceCache, "update" | "removeGroup" | "markReady">;

export interface RolloutsOptions {
  readonly target: RolloutTarget;
  readonly nodes: NodeRegistry;
  readonly publications: Publications;
  readonly metrics: RolloutMetrics;
  /** Finds the operator's objects behind refused resources. */
  readonly blame: Blame;
  /** Milliseconds since the epoch. Default: Date.now. */
  readonly now?: () => number;
}

/**
 * Follows what becomes of each revision: who is sent something of it, accepts or refuses it, and when. It knows the data planes of this
 * control plane only; other replicas know theirs. What it keeps is bounded, and a step costs what changed and whom it concerns.
 */
export class Rollouts implements NodeListener {
  readonly #options: RolloutsOptions;
  readonly #now: () => number;
  /** The oldest first. */
  readonly #records = new Map<string, RolloutRecord[]>();
  /** Of those, the gateway groups that are gone: the one that went longest ago first. */
  readonly #goneGroups = new Set<string>();
  readonly #listeners = new Set<() => void>();
  /** What was found behind refusals, since a look into a large resource takes its time and many data planes may refuse it. */
  readonly #blamed = new Map<string, readonly BlamedObject[]>();
  readonly #stop: () => void;
  #ready = false;
  #published = 0n;
  #timer: NodeJS.Timeout | undefined;
  #tellScheduled = false;

  constructor(options: RolloutsOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
    this.#stop = options.nodes.onNode(this);
  }

  /** The newest revision that was handed over, all of its gateway groups included. */
  get published(): bigint {
    return this.#published;
  }

  /** Stops following. */
  close(): void {
    this.#stop();
    clearTimeout(this.#timer);
  }

  /** Calls back after changes, at most once for each turn of the event loop. Returns what ends it. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Everything up to this revision was handed over. */
  notePublished(revision: bigint): void {
    this.#published = revision;
    this.changed();
  }

  /** The first fill is complete: whatever comes from now on is a rollout. */
  markReady(): void {
    this.#options.target.markReady();
    this.#ready = true;
  }

  /** Rollouts of a gateway group, or of all, the oldest first. */
  list(group?: string): readonly RolloutRecord[] {
    return group === undefined ? [...this.#records.values()].flat() : (this.#records.get(group) ?? []);
  }

  /** Publishes revisions of a gateway group at once; without them, or before the first fill is complete, it is no rollout. */
  update(group: string, updates: readonly ResourceUpdate[], published?: Published): void {
    if (this.#ready && published !== undefined) this.publish(this.begin(group, published), updates);
    else this.#options.target.update(group, updates);
  }

  /** Begins a rollout that is not published yet. @param replaced one under way that it takes the place of, with its revisions */
  begin(group: string, published: Published, replaced?: RolloutRecord): RolloutRecord {
    const first = replaced?.revisions.first ?? published.first;
    const objects = [...(replaced?.objects ?? []), ...published.objects];
    const record = new RolloutRecord(group, { first, last: published.last, objects }, this.#now());
    const ofGroup = (this.#records.get(group) ?? []).filter((each) => each !== replaced);
    this.#records.set(group, ofGroup);
    this.#goneGroups.delete(group);
    ofGroup.push(record);
    // One that never ended is given up with its group's oldest.
    if (ofGroup.length > KEPT_MAX) ofGroup.shift();
    this.changed();
    return record;
  }

  /** Publishes a rollout to every data plane of its gateway group. */
  publish(record: RolloutRecord, updates: readonly ResourceUpdate[]): void {
    record.state = "in_progress";
    const changed = this.run(record, () => this.#options.target.update(record.group, updates));
    record.resources = Math.max(record.resources, changed);
    this.#check(record);
  }

  /** Ends a rollout that only one data plane has tried. */
  holdBack(record: RolloutRecord, why: string): void {
    record.heldBack = why;
    record.end("held_back", this.#now());
    this.#options.metrics.ended(record);
    this.changed();
  }

  /** Does what changes resources for data planes as a part of a rollout. */
  run<Result>(record: RolloutRecord, handOver: () => Result): Result {
    return this.#options.publications.run((publication) => {
      record.publication = publication;
      return handOver();
    });
  }

  /** The gateway group is gone, which its data planes are not told. */
  removeGroup(group: string, published: Published): void {
    this.#options.target.removeGroup(group);
    if (!this.#ready) return;
    this.#check(this.begin(group, published));
    this.#goneGroups.add(group);
    const [oldest] = this.#goneGroups;
    if (this.#goneGroups.size <= GONE_GROUPS_MAX || oldest === undefined) return;
    this.#goneGroups.delete(oldest);
    this.#records.delete(oldest);
  }

  /** Tells listeners soon; to be called after changes of records. */
  changed(): void {
    if (this.#tellScheduled || this.#listeners.size === 0) return;
    this.#tellScheduled = true;
    setImmediate(() => {
      this.#tellScheduled = false;
      for (const listener of this.#listeners) listener();
    });
  }

  nodeChanged({ gatewayGroup, id }: NodeIdentity, outstanding: () => Outstanding | undefined): void {
    // Each step of each data plane comes here, and most concern no rollout.
    for (const record of this.#records.get(gatewayGroup) ?? none) {
      // A publication is looked at as a whole, once it is made.
      if (!record.isOver && record.step(id, outstanding(), this.#now())) this.#check(record);
    }
  }

  nodeRefused({ gatewayGroup, id }: NodeIdentity, refusal: Refusal): readonly string[] {
    const { first, last } = refusal.publications ?? { first: 1, last: 0 };
    const refused = [...this.#active(gatewayGroup)].filter(
      (record) => record.awaits(id) && record.isPublishedWithin(first, last),
    );
    const changed = refused.flatMap(({ objects }) => objects);
    const resources = refusedResources(gatewayGroup, refusal, this.#options.blame, changed);
    this.#options.metrics.refused(resources);
    for (const { typeUrl, name, reason, objects } of resources) {
      this.#remember([gatewayGroup, typeUrl, name, reason].join("\0"), objects);
    }
    for (const record of refused) {
      record.refuse({ nodeId: id, resources });
      this.#check(record);
    }
    return [...new Set(resources.flatMap(({ objects }) => objects.map(({ text }) => text)))];
  }

  /** What the operator wrote that became a refused resource. */
  objectsOf(group: string, typeUrl: string, name: string, reason: string): readonly BlamedObject[] {
    const key = [group, typeUrl, name, reason].join("\0");
    const known = this.#blamed.get(key);
    if (known !== undefined) return known;
    const refusal = { typeUrl, reason, names: new Set([name]), reasons: new Map(), publications: undefined };
    const found = refusedResources(group, refusal, this.#options.blame, []).flatMap(({ objects }) => objects);
    this.#remember(key, found);
    return found;
  }

  #remember(key: string, objects: readonly BlamedObject[]): void {
    this.#blamed.delete(key);
    this.#blamed.set(key, objects);
    const [oldest] = this.#blamed.keys();
    if (this.#blamed.size > BLAMED_MAX && oldest !== undefined) this.#blamed.delete(oldest);
  }

  *#active(group: string): Iterable<RolloutRecord> {
    for (const record of this.#records.get(group) ?? []) if (!record.isOver) yield record;
  }

  /** Ends the rollout if nobody is waited for, or comes back when that may be so. */
  #check(record: RolloutRecord): void {
    this.changed();
    record.trialMoved();
    if (record.isOver || record.state === "trial" || this.#options.publications.current !== undefined) return;
    const dueMs = record.dueMs();
    if (dueMs === undefined) return;
    const restMs = dueMs - performance.now();
    if (restMs > 0) {
      this.#lookAgain(restMs);
      return;
    }
    record.end(record.refusals.length > 0 ? "refused" : "complete", this.#now());
    this.#options.metrics.ended(record);
  }

  #lookAgain(delayMs: number): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      for (const group of this.#records.keys()) for (const record of this.#active(group)) this.#check(record);
    }, delayMs + 1).unref();
  }
}
