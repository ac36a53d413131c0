import type { Service } from "#sluice/model/v1/service_pb.ts";
import type { GatewayGroup } from "#sluice/model/v1/gateway_group_pb.ts";

import { type MemberKind, memberKinds, type ValueOf } from "../model/kinds.ts";
import { type ObjectKey, valueOf } from "../model/objects.ts";
import { ServicesByHost } from "../model/service-hosts.ts";
import type { State } from "../model/validate.ts";
import { SortedMap } from "./sorted-map.ts";
import type { Entry, Transaction } from "./transaction.ts";

/** Everything that is stored, at one revision, as readers see it. */
export interface StoreState extends State {
  readonly revision: bigint;
  /** When the newest transaction was written; undefined in an empty store. */
  readonly lastChangeTime: Date | undefined;
  find(key: ObjectKey): Entry | undefined;
  /** Gateway groups by name, from the first one after `after`. */
  gatewayGroupEntries(after?: string): Iterable<Entry>;
  /** Objects of a kind by gateway group and name, from the first one after `after`; of one gateway group, or all. */
  entries(kind: MemberKind, gatewayGroup?: string, after?: MemberPlace): Iterable<Entry>;
}

/** Where an object stands in a list that is ordered by gateway group and name. */
export interface MemberPlace {
  readonly gatewayGroup: string;
  readonly name: string;
}

/**
 * All objects in memory, kept in step with the store transaction by transaction. Reads, lists and validation run on it, so that they
 * cost the database nothing, and a write costs what it changes.
 */
export class Mirror implements StoreState {
  revision = 0n;
  lastChangeTime: Date | undefined;
  #groups = new SortedMap<Entry>();
  /** By kind, gateway group and name. */
  #members = new Map<MemberKind, SortedMap<SortedMap<Entry>>>(memberKinds.map((kind) => [kind, new SortedMap()]));
  /** By gateway group. */
  #hosts = new Map<string, ServicesByHost>();

  servicesOn(gatewayGroup: string, host: string): Iterable<Service> {
    return this.#hosts.get(gatewayGroup)?.on(host) ?? [];
  }

  find(key: ObjectKey): Entry | undefined {
    return key.kind === "gatewayGroup"
      ? this.#groups.get(key.name)
      : this.#members.get(key.kind)?.get(key.gatewayGroup)?.get(key.name);
  }

  gatewayGroup(name: string): GatewayGroup | undefined {
    return valueOf("gatewayGroup", this.#groups.get(name)?.object);
  }

  *gatewayGroups(): Iterable<GatewayGroup> {
    for (const entry of this.gatewayGroupEntries()) {
      if (entry.object.kind === "gatewayGroup") yield entry.object.value;
    }
  }

  member<K extends MemberKind>(kind: K, gatewayGroup: string, name: string): ValueOf<K> | undefined {
    return valueOf(kind, this.#members.get(kind)?.get(gatewayGroup)?.get(name)?.object);
  }

  *members<K extends MemberKind>(kind: K, gatewayGroup: string): Iterable<ValueOf<K>> {
    for (const { object } of this.entries(kind, gatewayGroup)) {
      const value = valueOf(kind, object);
      if (value !== undefined) yield value;
    }
  }

  *gatewayGroupEntries(after?: string): Iterable<Entry> {
    yield* this.#groups.values(after);
  }

  *entries(kind: MemberKind, gatewayGroup?: string, after?: MemberPlace): Iterable<Entry> {
    const ofKind = this.#members.get(kind);
    for (const group of gatewayGroup === undefined ? (ofKind?.keys() ?? []) : [gatewayGroup]) {
      if (after !== undefined && group < after.gatewayGroup) continue;
      yield* ofKind?.get(group)?.values(group === after?.gatewayGroup ? after.name : undefined) ?? [];
    }
  }

  /** Puts an object as it was read from the database; only while the mirror is filled at start. */
  load(key: ObjectKey, entry: Entry): void {
    this.#put(key, entry);
  }

  /** Takes the state of another mirror, which is not used any more: for when the transactions between are not kept. */
  become(other: Mirror): void {
    this.#groups = other.#groups;
    this.#members = other.#members;
    this.#hosts = other.#hosts;
    this.revision = other.revision;
    this.lastChangeTime = other.lastChangeTime;
  }

  /**
   * Takes the transaction that follows.
   * @returns false if it was taken before: a write and the reader that follows other replicas may both bring it.
   * @throws Error if a transaction between is missing, which is a bug.
   */
  advance(transaction: Transaction): boolean {
    if (transaction.revision <= this.revision) return false;
    if (transaction.revision !== this.revision + 1n) {
      throw new Error(`store: transaction ${transaction.revision} doesn't follow ${this.revision}`);
    }
    for (const { key, after } of transaction.changes) {
      if (after === undefined) {
        this.#delete(key);
        continue;
      }
      const createTime = this.find(key)?.metadata.createTime ?? transaction.time;
      const metadata = { revision: transaction.revision, createTime, updateTime: transaction.time };
      this.#put(key, { object: after, metadata });
    }
    this.revision = transaction.revision;
    this.lastChangeTime = transaction.time;
    return true;
  }

  #put(key: ObjectKey, entry: Entry): void {
    if (key.kind === "gatewayGroup") {
      this.#groups.set(key.name, entry);
      return;
    }
    const ofKind = this.#members.get(key.kind);
    let inGroup = ofKind?.get(key.gatewayGroup);
    if (inGroup === undefined) {
      inGroup = new SortedMap();
      ofKind?.set(key.gatewayGroup, inGroup);
    }
    this.#moveHosts(key, inGroup.get(key.name), entry);
    inGroup.set(key.name, entry);
  }

  #moveHosts(key: ObjectKey, before: Entry | undefined, after: Entry | undefined): void {
    if (key.kind !== "service") return;
    let hosts = this.#hosts.get(key.gatewayGroup);
    if (hosts === undefined) this.#hosts.set(key.gatewayGroup, (hosts = new ServicesByHost()));
    const [left, right] = [valueOf("service", before?.object), valueOf("service", after?.object)];
    if (left !== undefined) hosts.delete(left);
    if (right !== undefined) hosts.add(right);
  }

  #delete(key: ObjectKey): void {
    if (key.kind === "gatewayGroup") {
      this.#groups.delete(key.name);
      return;
    }
    const ofKind = this.#members.get(key.kind);
    const inGroup = ofKind?.get(key.gatewayGroup);
    this.#moveHosts(key, inGroup?.get(key.name), undefined);
    inGroup?.delete(key.name);
    if (inGroup?.size !== 0) return;
    ofKind?.delete(key.gatewayGroup);
    if (key.kind === "service") this.#hosts.delete(key.gatewayGroup);
  }
}
