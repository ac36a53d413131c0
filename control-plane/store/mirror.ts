import type { GatewayGroup } from "#sluice/model/v1/gateway_group_pb.ts";
import type { Service } from "#sluice/model/v1/service_pb.ts";

import type { ObjectKey } from "../model/objects.ts";
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
  /** The services of a gateway group by name, from the first one after `after`. */
  serviceEntries(gatewayGroup: string, after?: string): Iterable<Entry>;
  /** Names of gateway groups that have services, in order, from `from` on. */
  groupsWithServices(from?: string): Iterable<string>;
}

/**
 * All objects in memory, kept in step with the store transaction by transaction. Reads, lists and validation run on it, so that they
 * cost the database nothing, and a write costs what it changes.
 */
export class Mirror implements StoreState {
  revision = 0n;
  lastChangeTime: Date | undefined;
  readonly #groups = new SortedMap<Entry>();
  readonly #services = new SortedMap<SortedMap<Entry>>();

  find(key: ObjectKey): Entry | undefined {
    return key.kind === "gatewayGroup"
      ? this.#groups.get(key.name)
      : this.#services.get(key.gatewayGroup)?.get(key.name);
  }

  gatewayGroup(name: string): GatewayGroup | undefined {
    return asGroup(this.#groups.get(name));
  }

  service(group: string, name: string): Service | undefined {
    return asService(this.#services.get(group)?.get(name));
  }

  *servicesOf(group: string): Iterable<Service> {
    for (const entry of this.serviceEntries(group)) {
      if (entry.object.kind === "service") yield entry.object.value;
    }
  }

  *gatewayGroups(): Iterable<GatewayGroup> {
    for (const entry of this.gatewayGroupEntries()) {
      if (entry.object.kind === "gatewayGroup") yield entry.object.value;
    }
  }

  *gatewayGroupEntries(after?: string): Iterable<Entry> {
    yield* this.#groups.values(after);
  }

  *serviceEntries(gatewayGroup: string, after?: string): Iterable<Entry> {
    yield* this.#services.get(gatewayGroup)?.values(after) ?? [];
  }

  *groupsWithServices(from?: string): Iterable<string> {
    for (const name of this.#services.keys()) {
      if (from === undefined || name >= from) yield name;
    }
  }

  /** Puts an object as it was read from the database; only while the mirror is filled at start. */
  load(key: ObjectKey, entry: Entry): void {
    this.#put(key, entry);
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
    let services = this.#services.get(key.gatewayGroup);
    if (services === undefined) {
      services = new SortedMap();
      this.#services.set(key.gatewayGroup, services);
    }
    services.set(key.name, entry);
  }

  #delete(key: ObjectKey): void {
    if (key.kind === "gatewayGroup") {
      this.#groups.delete(key.name);
      return;
    }
    const services = this.#services.get(key.gatewayGroup);
    services?.delete(key.name);
    if (services?.size === 0) this.#services.delete(key.gatewayGroup);
  }
}

const asGroup = (entry: Entry | undefined) => (entry?.object.kind === "gatewayGroup" ? entry.object.value : undefined);
const asService = (entry: Entry | undefined) => (entry?.object.kind === "service" ? entry.object.value : undefined);
