import { type Assignment, NO_ENDPOINTS } from "./assignment.ts";
import type { Balancer } from "./balance/balancer.ts";
import type { Cluster, ClusterLoad, ClusterSettings, Endpoint } from "./cluster.ts";
import type { ClusterConfig } from "./compile.ts";
import { endpointKey, LiveEndpoint } from "./endpoint.ts";
import { HostSet, type LocalityHosts } from "./host-set.ts";
import { priorityLoads } from "./priorities.ts";

/** A balancer with the share of requests that go to it: those whose draw, 0 to 99, is below `end`. */
interface Target {
  readonly end: number;
  readonly balancer: Balancer;
  /** Whether it takes endpoints that are not healthy, too, because too few are. */
  readonly panic: boolean;
}

/**
 * A cluster in a worker, from the update that brings it to the one that removes it. Configuration and endpoints are replaced under it;
 * an endpoint that stays keeps its object, and with that its connections and counts.
 */
export class LiveCluster implements Cluster {
  readonly name: string;
  readonly load: ClusterLoad = { connections: 0, pending: 0, requests: 0, retries: 0 };
  readonly highLoad: ClusterLoad = { connections: 0, pending: 0, requests: 0, retries: 0 };
  panics: Cluster["panics"] = undefined;
  #config: ClusterConfig;
  #assignment: Assignment = NO_ENDPOINTS;
  #endpoints = new Map<string, LiveEndpoint>();
  #targets: readonly Target[] = [];

  constructor(config: ClusterConfig) {
    this.name = config.name;
    this.#config = config;
  }

  get settings(): ClusterSettings {
    return this.#config.settings;
  }

  /** How the cluster is configured now. */
  get config(): ClusterConfig {
    return this.#config;
  }

  /** Replaces the configuration; endpoints stay. */
  configure(config: ClusterConfig): void {
    this.#config = config;
    this.#balance(this.#hosts(this.#assignment));
  }

  /** Replaces the endpoints; those that left are no longer alive. */
  assign(assignment: Assignment): void {
    const before = this.#endpoints;
    this.#endpoints = new Map();
    const hosts = this.#hosts(assignment, before);
    for (const [key, endpoint] of before) {
      if (!this.#endpoints.has(key)) endpoint.alive = false;
    }
    this.#assignment = assignment;
    this.#balance(hosts);
  }

  endpoints(): Iterable<Endpoint> {
    return this.#endpoints.values();
  }

  pick(hash: bigint | undefined, avoid?: ReadonlySet<Endpoint>, attempts = 1): Endpoint | undefined {
    let picked: Endpoint | undefined;
    for (let attempt = 0; attempt < attempts; attempt++) {
      picked = this.#draw(hash, attempt);
      if (picked === undefined || avoid === undefined || !avoid.has(picked)) break;
    }
    return picked;
  }

  #draw(hash: bigint | undefined, attempt: number): Endpoint | undefined {
    const targets = this.#targets;
    if (targets.length === 1) return this.#drawFrom(targets[0] as Target, hash, attempt);
    // The hash decides on the priority, too, so that a client stays where it is (Envoy choosePriority).
    const drawn = hash === undefined ? Math.floor(Math.random() * 100) : Number(hash % 100n);
    for (const target of targets) {
      if (drawn < target.end) return this.#drawFrom(target, hash, attempt);
    }
    return undefined;
  }

  #drawFrom({ balancer, panic }: Target, hash: bigint | undefined, attempt: number): Endpoint | undefined {
    if (panic) this.panics?.inc();
    return balancer.pick(hash, attempt);
  }

  /** The endpoints' objects by priority and locality. An address that comes twice counts once, as in Envoy. */
  #hosts(assignment: Assignment, before: ReadonlyMap<string, LiveEndpoint> = this.#endpoints): LocalityHosts[][] {
    const seen = new Set<string>();
    const priorities: LocalityHosts[][] = [];
    for (const locality of assignment.localities) {
      const endpoints: LiveEndpoint[] = [];
      for (const assigned of locality.endpoints) {
        const key = endpointKey(assigned);
        if (seen.has(key)) continue;
        seen.add(key);
        const endpoint = before.get(key) ?? new LiveEndpoint(assigned.address, assigned.port);
        endpoint.hostname = assigned.hostname;
        endpoint.additionalAddresses = assigned.additionalAddresses;
        endpoint.labels = [assigned.labels, locality.labels];
        endpoint.hashKey = assigned.hashKey || key;
        endpoint.canary = assigned.canary;
        endpoint.weight = assigned.weight;
        endpoint.priority = locality.priority;
        endpoint.health = assigned.health;
        this.#endpoints.set(key, endpoint);
        endpoints.push(endpoint);
      }
      (priorities[locality.priority] ??= []).push({ weight: locality.weight, endpoints });
    }
    // A DNS cluster may have priorities of which nothing is resolved yet.
    return Array.from(priorities, (localities) => localities ?? []);
  }

  #balance(priorities: readonly LocalityHosts[][]): void {
    const { balance, panicThreshold } = this.#config;
    const { overprovisioningFactor } = this.#assignment;
    const sets = priorities.map((localities) => new HostSet(localities, { ...balance, overprovisioningFactor }));
    const loads = priorityLoads(sets, overprovisioningFactor, panicThreshold);
    const targets: Target[] = [];
    let end = 0;
    for (const kind of ["healthy", "degraded"] as const) {
      loads[kind].forEach((percent, priority) => {
        const set = sets[priority];
        if (percent === 0 || set === undefined) return;
        end += percent;
        const panic = loads.panic[priority] === true;
        targets.push({ end, panic, balancer: set.balancer(panic ? "all" : kind) });
      });
    }
    this.#targets = targets;
  }
}
