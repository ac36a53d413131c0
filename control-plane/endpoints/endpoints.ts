/**
 * The endpoints of every discovered service: which are wanted (upstreams name them), what registries say of them now, and which changed.
 * One supervisor per registry object does the watching; upstreams of a gateway group that need the same share a watch.
 */
import { create, toBinary } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";

import { type ServiceKey, type ServiceSnapshot, ServiceSnapshotSchema } from "#sluice/discovery/v1/snapshot_pb.ts";
import { type Registry, RegistrySchema } from "#sluice/model/v1/registry_pb.ts";
import type { Discovery } from "#sluice/model/v1/upstream_pb.ts";

import { type Canonical, canonical } from "../../discovery/canonical.ts";
import { LeaseTable } from "../../discovery/leases/table.ts";
import { type HealthChange, RegistrySupervisor } from "../../discovery/supervise.ts";
import { keyText } from "../../discovery/source.ts";
import { discoveryKey } from "../model/discovery-key.ts";
import { type Demand, keyOf, toKey, type User, type Want } from "./demand.ts";
import { FollowerSource } from "./follower-source.ts";
import { openSource } from "./open-source.ts";
import { describeRegistry } from "./registry-info.ts";
import { RotatingSource } from "./rotating-source.ts";
import { SavedFile } from "./saved.ts";
import type { Saved } from "./saved-records.ts";
import type { SharedEndpoints } from "./shared.ts";

/** How long a registry may take with its first answer before its service counts as one without instances. */
const FIRST_ANSWER_MS_MAX = 5_000;
/** From one telling to the next: changes that come meanwhile are told together. The first of a quiet time is not held back. */
const COALESCE_MS = 5;
const HOLD_EMPTY_MS_DEFAULT = 300_000;

/** What of the logger is used (pino's order of arguments). */
export interface EndpointsLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

export interface EndpointsOptions {
  /** Keeps the last good endpoints for the next start. */
  readonly dataDir: string;
  readonly log: EndpointsLog;
  /** Where other replicas watch registries too. Default: this one watches them all. */
  readonly shared?: SharedEndpoints | undefined;
}

/** Which services changed: discoveryKeys by gateway group. */
export type ChangedServices = ReadonlyMap<string, ReadonlySet<string>>;

/** A registry as it is watched now. */
export interface WatchedRegistry {
  readonly gatewayGroup: string;
  readonly registry: Registry;
  readonly supervisor: RegistrySupervisor;
  /** The replica that watches it; empty where there is only one. */
  readonly watcher: string;
}

const nothing = create(ServiceSnapshotSchema);

export class Endpoints {
  /** What was reported to registries of the kind `leases`. */
  readonly leases = new LeaseTable();
  readonly #log: EndpointsLog;
  readonly #shared: SharedEndpoints | undefined;
  readonly #saved: SavedFile;
  /** Of the last run, until they are asked for: by group and discoveryKey. */
  readonly #restored = new Map<string, Canonical>();
  readonly #registries = new Map<string, WatchedRegistry>();
  readonly #demands = new Map<string, Map<string, Demand>>();
  /** By "group/service": what its upstreams want. */
  readonly #wantedBy = new Map<string, readonly Want[]>();
  #changed = new Map<string, Set<string>>();
  #isFlushing = false;
  #flushing: NodeJS.Timeout | undefined;
  #isClosed = false;
  #toldMs = Number.NEGATIVE_INFINITY;
  #listener: (changed: ChangedServices) => void = () => {};
  #settled: () => void = () => {};

  constructor({ dataDir, log, shared }: EndpointsOptions) {
    this.#log = log;
    this.#shared = shared;
    this.#saved = new SavedFile(
      dataDir,
      () => this.#toSave(),
      (message) => log.warn({}, message),
    );
    for (const { gatewayGroup, registry, service, served } of this.#saved.load()) {
      this.#restored.set(`${gatewayGroup} ${keyOf(registry, service)}`, served);
    }
  }

  /** Takes part in what replicas share, before anything is wanted. @throws StoreError */
  async start(): Promise<void> {
    const roleChanged = (id: string) => {
      const watched = this.#registries.get(id);
      // The answer to a claim may come when everything is given up.
      if (watched !== undefined && !this.#isClosed) this.#supervise(id, watched.gatewayGroup, watched.registry);
    };
    await this.#shared?.start({ roleChanged, warn: (message) => this.#log.warn({}, message) }, (id) => {
      const watched = this.#shared?.isHolder(id) === true ? this.#registries.get(id) : undefined;
      return watched === undefined ? "" : describeRegistry(watched.supervisor);
    });
  }

  /** Calls `listener` whenever `latest` gives something else for some services, at most every few milliseconds. */
  onChange(listener: (changed: ChangedServices) => void): void {
    this.#listener = listener;
  }

  /** What to serve for an upstream: undefined while the registry may still be about to answer for the first time. */
  latest(gatewayGroup: string, discovery: Discovery): ServiceSnapshot | undefined {
    const demand = this.#demands.get(gatewayGroup)?.get(discoveryKey(discovery));
    return demand?.served?.decode() ?? (demand?.overdue === true ? nothing : undefined);
  }

  /** A registry object was written, or deleted (undefined). */
  setRegistry(gatewayGroup: string, name: string, registry: Registry | undefined): void {
    const id = `${gatewayGroup}/${name}`;
    const before = this.#registries.get(id);
    if (before !== undefined && registry !== undefined && isSameWatch(before.registry, registry)) return;
    if (registry?.kind.case !== "leases") this.leases.dropRegistry({ gatewayGroup, registry: name });
    if (registry === undefined) {
      void before?.supervisor.close();
      this.#registries.delete(id);
      this.#shared?.drop(id);
      return;
    }
    // What is reported is the same in all replicas.
    if (registry.kind.case !== "leases") this.#shared?.want(id);
    this.#supervise(id, gatewayGroup, registry);
  }

  /** Begins to watch a registry, in this replica's role; what was known of its services is served meanwhile. */
  #supervise(id: string, gatewayGroup: string, registry: Registry): void {
    void this.#registries.get(id)?.supervisor.close();
    const direct = new RotatingSource(registry, () => openSource(gatewayGroup, registry, this.leases));
    const shared = registry.kind.case === "leases" ? undefined : this.#shared;
    const follows = shared !== undefined && !shared.isHolder(id);
    const holdEmptyMs = registry.holdEmpty === undefined ? HOLD_EMPTY_MS_DEFAULT : durationMs(registry.holdEmpty);
    const supervisor = new RegistrySupervisor({
      source: follows ? new FollowerSource(shared, id, direct) : direct,
      // Whoever watches has doubted already.
      holdEmptyMs: follows ? 0 : holdEmptyMs,
      events: {
        changed: (key, served) => {
          if (this.#registries.get(id)?.supervisor !== supervisor) return;
          if (!follows) shared?.publish(id, keyText(key), served.decode());
          this.#take(gatewayGroup, keyOf(registry.name, key), served);
        },
        health: (change) => this.#logHealth(id, change),
        bug: (key, message) => this.#log.warn({ registry: id, service: key.service }, `discovery: a bug: ${message}`),
      },
    });
    const watcher = () => shared?.watcher(id)?.holder ?? "";
    this.#registries.set(id, {
      ...{ gatewayGroup, registry, supervisor },
      get watcher() {
        return watcher();
      },
    });
    for (const demand of this.#demands.get(gatewayGroup)?.values() ?? []) {
      if (demand.discovery.registry === registry.name) this.#add(id, supervisor, demand);
    }
  }

  /** Has a demand watched. What another replica found before goes before what the last run of this one did. */
  #add(id: string, supervisor: RegistrySupervisor, demand: Demand): void {
    const key = toKey(demand.discovery);
    const shared = this.#shared?.latest(id, keyText(key));
    const found = shared && canonical(shared);
    if (found === undefined && demand.served !== undefined && this.#shared?.isHolder(id) === true) {
      this.#shared.publish(id, keyText(key), demand.served.decode());
    }
    void supervisor.add(key, found ?? demand.served);
    if (found === undefined || (demand.served?.isSameAs(found) ?? false)) return;
    demand.served = found;
    this.#tell(demand.gatewayGroup, discoveryKey(demand.discovery));
  }

  /** A service was written, or deleted (none): these of its upstreams need what registries say. */
  setService(gatewayGroup: string, service: string, upstreams: ReadonlyMap<string, Discovery>): void {
    const demands = this.#demands.get(gatewayGroup) ?? new Map<string, Demand>();
    // Of a gateway group that was deleted, services are told of after it.
    if (upstreams.size > 0) this.#demands.set(gatewayGroup, demands);
    const id = `${gatewayGroup}/${service}`;
    const before = this.#wantedBy.get(id) ?? [];
    const now = Array.from(upstreams, ([upstream, discovery]) => {
      const want: Want = { user: `${service}/${upstream}`, key: discoveryKey(discovery) };
      const demand = demands.get(want.key) ?? this.#demand(gatewayGroup, want.key, discovery);
      demands.set(want.key, demand);
      demand.users = [...demand.users.filter(({ name }) => name !== want.user), { name: want.user, discovery }];
      return want;
    });
    if (now.length === 0) this.#wantedBy.delete(id);
    else this.#wantedBy.set(id, now);
    for (const { user, key } of before) {
      const demand = demands.get(key);
      if (demand === undefined || now.some((want) => want.user === user && want.key === key)) continue;
      demand.users = demand.users.filter(({ name }) => name !== user);
      if (demand.users.length > 0) continue;
      clearTimeout(demand.timer);
      demands.delete(key);
      const registry = `${gatewayGroup}/${demand.discovery.registry}`;
      void this.#registries.get(registry)?.supervisor.remove(toKey(demand.discovery));
      this.#shared?.withdraw(registry, keyText(toKey(demand.discovery)));
      this.#saved.rewrite();
    }
  }

  /** A gateway group was deleted. */
  removeGroup(gatewayGroup: string): void {
    for (const { timer } of this.#demands.get(gatewayGroup)?.values() ?? []) clearTimeout(timer);
    this.#demands.delete(gatewayGroup);
    for (const id of [...this.#wantedBy.keys()]) if (id.startsWith(`${gatewayGroup}/`)) this.#wantedBy.delete(id);
    for (const { gatewayGroup: group, registry } of [...this.#registries.values()]) {
      if (group === gatewayGroup) this.setRegistry(group, registry.name, undefined);
    }
  }

  /** Fulfilled when every wanted service has an answer, of this run or the last, or has waited long enough for one. */
  async settled(): Promise<void> {
    while (this.#isWaiting()) {
      await new Promise<void>((resolve) => {
        this.#settled = resolve;
      });
    }
  }

  /** The registries that are watched, and by which name. */
  registries(): Iterable<WatchedRegistry> {
    return this.#registries.values();
  }

  /** The upstreams that use what a registry says of a service, by name. */
  usersOf(gatewayGroup: string, registry: string, key: ServiceKey): readonly User[] {
    const users = this.#demands.get(gatewayGroup)?.get(keyOf(registry, key))?.users ?? [];
    return users.length < 2 ? users : users.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#flushing);
    for (const demands of this.#demands.values()) for (const { timer } of demands.values()) clearTimeout(timer);
    await Promise.all([...this.#registries.values()].map(({ supervisor }) => supervisor.close()));
    await this.#shared?.close();
    this.leases.close();
    await this.#saved.close();
  }

  #demand(gatewayGroup: string, key: string, discovery: Discovery): Demand {
    const restored = this.#restored.get(`${gatewayGroup} ${key}`);
    this.#restored.delete(`${gatewayGroup} ${key}`);
    const overdue = () => {
      demand.timer = undefined;
      demand.overdue = true;
      if (demand.served === undefined) this.#tell(gatewayGroup, key);
    };
    const timer = setTimeout(overdue, FIRST_ANSWER_MS_MAX);
    const demand: Demand = { gatewayGroup, discovery, users: [], served: restored, overdue: false, timer };
    const id = `${gatewayGroup}/${discovery.registry}`;
    const supervisor = this.#registries.get(id)?.supervisor;
    if (supervisor !== undefined) this.#add(id, supervisor, demand);
    return demand;
  }

  #take(gatewayGroup: string, key: string, served: Canonical): void {
    const demand = this.#demands.get(gatewayGroup)?.get(key);
    if (demand === undefined) return;
    demand.served = served;
    const { discovery } = demand;
    this.#saved.put({ gatewayGroup, registry: discovery.registry, service: toKey(discovery), served });
    this.#tell(gatewayGroup, key);
  }

  #tell(gatewayGroup: string, key: string): void {
    this.#settled();
    const ofGroup = this.#changed.get(gatewayGroup) ?? new Set();
    this.#changed.set(gatewayGroup, ofGroup.add(key));
    if (this.#isFlushing) return;
    this.#isFlushing = true;
    const restMs = this.#toldMs + COALESCE_MS - performance.now();
    // After what else this turn of the event loop says; a timer would take a millisecond at least.
    if (restMs <= 0) setImmediate(() => this.#flush());
    else this.#flushing = setTimeout(() => this.#flush(), restMs);
  }

  #flush(): void {
    this.#isFlushing = false;
    if (this.#isClosed) return;
    this.#toldMs = performance.now();
    const changed = this.#changed;
    this.#changed = new Map();
    this.#listener(changed);
  }

  #isWaiting(): boolean {
    for (const demands of this.#demands.values()) {
      for (const { served, overdue } of demands.values()) if (served === undefined && !overdue) return true;
    }
    return false;
  }

  *#toSave(): Iterable<Saved> {
    for (const [gatewayGroup, demands] of this.#demands) {
      for (const { discovery, served } of demands.values()) {
        if (served === undefined) continue;
        yield { gatewayGroup, registry: discovery.registry, service: toKey(discovery), served };
      }
    }
  }

  #logHealth(registry: string, { failure }: HealthChange): void {
    if (failure === undefined) this.#log.info({ registry }, "discovery: the registry answers");
    else this.#log.warn({ registry, kind: failure.kind, problem: failure.message }, "discovery: the registry fails");
  }
}

/** Whether two registries are reached alike, so that watches may go on. */
function isSameWatch(a: Registry, b: Registry): boolean {
  const bytes = ({ kind, holdEmpty }: Registry) =>
    toBinary(RegistrySchema, create(RegistrySchema, { kind, ...(holdEmpty !== undefined && { holdEmpty }) }));
  return Buffer.compare(bytes(a), bytes(b)) === 0;
}
