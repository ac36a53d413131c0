import { type ResourceType, routeConfigurationOf } from "#proto/resource-types.ts";

import { byType, type ShortName } from "./by-type.ts";
import { type NameChanges, NameCounts } from "./names.ts";
import { type NeededName, Needs } from "./needs.ts";
import { referencesOf } from "./references.ts";
import { type Node, nodeOf, type Resource, type ResourceUpdate, update } from "./resource.ts";
import { readyHosts, takesVirtualHosts } from "./virtual-hosts.ts";
import { type Patience, Waiting } from "./waiting.ts";

export type { Resource, ResourceUpdate } from "./resource.ts";

/** How long a resource waits for what it names: Envoy's initial_fetch_timeout (15 s). */
export const WARMING_MS_MAX = 15_000;

/**
 * Holds back what is not yet of use, so that the data path only ever sees whole graphs (rule W7, gRPC A74): a cluster goes in with its
 * endpoints, a route table when the clusters that it names are in, a virtual host of its own (VHDS) likewise and by itself, a listener when
 * its route table is. A route table that takes virtual hosts goes in for the first time with all of them. A changed resource replaces the old
 * one under the same conditions; until then the old one serves. What fell out is removed after what named it (W6).
 *
 * Time is passed in (`nowMs` of any clock that doesn't go back). A call costs what changed and what waits, not what is there.
 */
export class Graph {
  /** The latest of each, whether in use or not. */
  readonly #received = byType(() => new Map<string, Node>());
  /** What the data path has. */
  readonly #active = byType(() => new Map<string, Node>());
  readonly #waiting = new Waiting();
  /** Endpoint sets that the control plane says don't exist; a cluster need not wait for them (D4). */
  readonly #absentEndpoints = new Set<string>();
  /** Named by what is in use or about to be. */
  readonly #needs = new Needs();
  /** Named by clusters in use. */
  readonly #usedEndpoints = new NameCounts();
  /** Named by routes and listeners in use. */
  readonly #usedClusters = new NameCounts();
  /** The control plane has told the virtual hosts that there are. */
  #virtualHostsCame = false;

  /** A resource came, new or changed. */
  put(type: ResourceType, resource: Resource): void {
    const node = nodeOf(type, resource, resource.references ?? referencesOf(resource.message));
    const received = this.#received[type.shortName];
    const before = received.get(node.name);
    received.set(node.name, node);
    this.#waiting.add(type.shortName, node.name);
    if (type.shortName === "EDS") this.#absentEndpoints.delete(node.name);
    // A resource is counted once while it is the latest and once while it is in use.
    this.#needs.add(node.references);
    this.#needs.remove(before?.references);
    if (type.shortName === "RDS" && takesVirtualHosts(node)) this.#lookAtVirtualHosts(node.name);
  }

  /** The control plane has told which virtual hosts there are, be it none: what route tables that take them wait for. */
  virtualHostsCame(): void {
    this.#virtualHostsCame = true;
  }

  /**
   * The control plane says that a resource doesn't exist. A listener, cluster or virtual host goes; a route table, endpoint set or secret stays
   * in use while something in use names it, as in Envoy, which takes their removal as no news.
   */
  remove(type: ResourceType, name: string): void {
    const received = this.#received[type.shortName];
    this.#needs.remove(received.get(name)?.references);
    received.delete(name);
    this.#waiting.add(type.shortName, name);
    if (type.shortName === "EDS") this.#absentEndpoints.add(name);
  }

  /** The names of a type to subscribe to, "*" for all virtual hosts; undefined for clusters and listeners, of which all are always wanted. */
  needed(type: ResourceType): Pick<NameCounts, "has" | "size" | typeof Symbol.iterator> | undefined {
    return this.#needs.of(type.shortName);
  }

  /** How {@link needed} has changed since the last call. */
  takeNeeds(shortName: NeededName): NameChanges {
    return this.#needs.of(shortName)?.takeChanges() ?? { added: [], removed: [] };
  }

  /** Whether a resource of a type that comes is of use: one that was given up while it was on its way is not. */
  isNeeded(type: ResourceType, name: string): boolean {
    const needed = this.needed(type);
    return needed === undefined || needed.has(name) || needed.has("*");
  }

  /** The resources in use. */
  active(type: ResourceType): ReadonlyMap<string, Resource> {
    return this.#active[type.shortName];
  }

  /** The resources received and not removed, in use or not yet. */
  received(type: ResourceType): ReadonlyMap<string, Resource> {
    return this.#received[type.shortName];
  }

  /** Everything in use, in an order that can be applied from nothing. */
  all(): ResourceUpdate[] {
    return (["SDS", "CDS", "EDS", "RDS", "VHDS", "LDS"] as const).flatMap((shortName) =>
      [...this.#active[shortName].values()].map((node) => update(shortName, node.name, node)),
    );
  }

  /** Names of a type that wait for what they name, for logs and config_dump. */
  waiting(type: ResourceType): string[] {
    const received = this.#received[type.shortName];
    return [...this.#waiting.names(type.shortName)].filter((name) => received.has(name));
  }

  /** When {@link settle} has something to do even if nothing comes; undefined: never. */
  nextDeadlineMs(): number | undefined {
    const first = this.#waiting.longestMs;
    return first === undefined ? undefined : first + WARMING_MS_MAX;
  }

  /**
   * Takes into use all that has become whole, or has waited for `patienceMs`, and gives the updates for the data path: secrets, clusters with
   * endpoints, routes, listeners, and then what is no longer there in the opposite order.
   */
  settle(nowMs: number, patienceMs = WARMING_MS_MAX): ResourceUpdate[] {
    const updates: ResourceUpdate[] = [];
    const patient = this.#waiting.patience(nowMs, patienceMs);
    this.#settleSecrets(updates);
    this.#settleClusters(updates, patient);
    this.#settleEndpoints(updates);
    this.#settleRoutes(updates, patient);
    this.#settleVirtualHosts(updates, patient);
    this.#settleListeners(updates, patient);
    this.#dropRoutes(updates);
    this.#dropClusters(updates, patient);
    this.#dropEndpoints(updates);
    this.#dropSecrets(updates);
    return updates;
  }

  #settleSecrets(updates: ResourceUpdate[]): void {
    for (const name of this.#waiting.names("SDS")) {
      const node = this.#received.SDS.get(name);
      if (node !== undefined) this.#activate("SDS", node, updates);
    }
    this.#waiting.clear("SDS");
  }

  #settleClusters(updates: ResourceUpdate[], patient: Patience): void {
    for (const name of this.#waiting.names("CDS")) {
      const node = this.#received.CDS.get(name);
      if (node === undefined) continue;
      const { endpoints, secrets } = node.references;
      const answered = (one: string) => this.#received.EDS.has(one) || this.#absentEndpoints.has(one);
      const whole = endpoints.every(answered) && this.#inUse("SDS", secrets);
      if (!whole && patient("CDS", name)) continue;
      this.#usedEndpoints.add(endpoints);
      this.#usedEndpoints.remove(this.#active.CDS.get(name)?.references.endpoints ?? []);
      this.#activate("CDS", node, updates);
      for (const one of endpoints) this.#waiting.add("EDS", one);
    }
  }

  #settleEndpoints(updates: ResourceUpdate[]): void {
    for (const name of this.#waiting.names("EDS")) {
      const node = this.#received.EDS.get(name);
      if (node !== undefined && this.#usedEndpoints.has(name) && this.#active.EDS.get(name) !== node) {
        this.#activate("EDS", node, updates);
      }
    }
    // One that no cluster uses yet is looked at again when a cluster does.
    this.#waiting.clear("EDS");
  }

  #settleRoutes(updates: ResourceUpdate[], patient: Patience): void {
    for (const name of this.#waiting.names("RDS")) {
      const node = this.#received.RDS.get(name);
      if (node === undefined) {
        this.#waiting.settled("RDS", name);
        continue;
      }
      const tookBefore = takesVirtualHosts(this.#active.RDS.get(name));
      const takes = takesVirtualHosts(node);
      const whole =
        this.#inUse("CDS", node.references.clusters) &&
        (!takes || tookBefore || (this.#virtualHostsCame && this.#areWhole(name, patient)));
      if (!whole && patient("RDS", name)) continue;
      this.#activate("RDS", node, updates);
      if (!takes && tookBefore) this.#forgetActiveHosts(name);
      // Compiled into what the route table was before, they are made anew with it.
      if (takes && tookBefore) {
        for (const host of this.#active.VHDS.values())
          if (routeConfigurationOf(host.name) === name) updates.push(update("VHDS", host.name, host));
      }
    }
  }

  /** Whether nothing keeps the virtual hosts of a route configuration from being used, as far as they have come. */
  #areWhole(routeConfiguration: string, patient: Patience): boolean {
    for (const name of this.#waiting.names("VHDS")) {
      if (routeConfigurationOf(name) !== routeConfiguration) continue;
      const { clusters } = this.#received.VHDS.get(name)?.references ?? {};
      if (clusters !== undefined && !this.#inUse("CDS", clusters) && patient("VHDS", name)) return false;
    }
    return true;
  }

  #settleVirtualHosts(updates: ResourceUpdate[], patient: Patience): void {
    const changed = [...this.#waiting.names("VHDS")].filter((name) => this.#isTaken(name));
    const ready = readyHosts(changed, {
      received: (name) => this.#received.VHDS.get(name),
      active: (name) => this.#active.VHDS.get(name),
      isWhole: ({ references }) => this.#inUse("CDS", references.clusters),
      patient: (name) => patient("VHDS", name),
    });
    for (const name of ready) {
      const node = this.#received.VHDS.get(name);
      if (node !== undefined) this.#activate("VHDS", node, updates);
      else {
        this.#deactivate("VHDS", name, updates);
        this.#waiting.settled("VHDS", name);
      }
    }
  }

  /** Whether the route configuration of a virtual host that has changed is in use and takes it. */
  #isTaken(name: string): boolean {
    const owner = routeConfigurationOf(name) ?? "";
    if (takesVirtualHosts(this.#active.RDS.get(owner))) return true;
    // Looked at again when its route configuration comes, or comes into use.
    if (!takesVirtualHosts(this.#received.RDS.get(owner))) this.#waiting.settled("VHDS", name);
    return false;
  }

  /** What is known of the virtual hosts of a route configuration has to be looked at again. */
  #lookAtVirtualHosts(routeConfiguration: string): void {
    for (const [name, node] of this.#received.VHDS) {
      if (routeConfigurationOf(name) === routeConfiguration && this.#active.VHDS.get(name) !== node)
        this.#waiting.add("VHDS", name);
    }
  }

  /** Their route table has gone, or takes them no more, and they with it: the data path need not be told of each. */
  #forgetActiveHosts(routeConfiguration: string): void {
    for (const name of this.#active.VHDS.keys()) {
      if (routeConfigurationOf(name) === routeConfiguration) this.#deactivate("VHDS", name, []);
    }
  }

  #settleListeners(updates: ResourceUpdate[], patient: Patience): void {
    for (const name of this.#waiting.names("LDS")) {
      const node = this.#received.LDS.get(name);
      if (node === undefined) {
        this.#deactivate("LDS", name, updates);
        this.#waiting.settled("LDS", name);
        continue;
      }
      // No time limit here: a listener without routes would answer 404 to everybody; a closed port makes balancers look elsewhere.
      if (!this.#inUse("RDS", node.references.routes)) {
        // It may have begun to wait for something else before it changed: that time is over, too, and would run out again and again.
        this.#waiting.restart("LDS", name);
        continue;
      }
      const { clusters, secrets } = node.references;
      // Without its certificate in time it opens nevertheless, as in Envoy, and refuses the connections that would need it.
      const whole = this.#inUse("CDS", clusters) && this.#inUse("SDS", secrets);
      if (whole || !patient("LDS", name)) this.#activate("LDS", node, updates);
    }
  }

  /** No route configuration takes virtual hosts any more: they are no longer subscribed to. */
  #dropVirtualHosts(): void {
    if (this.#needs.takeReleased("VHDS").length === 0) return;
    this.#received.VHDS.clear();
    for (const name of this.#waiting.names("VHDS")) this.#waiting.settled("VHDS", name);
    this.#virtualHostsCame = false;
  }

  #dropRoutes(updates: ResourceUpdate[]): void {
    for (const name of this.#needs.takeReleased("RDS")) {
      this.#needs.remove(this.#received.RDS.get(name)?.references);
      this.#received.RDS.delete(name);
      this.#waiting.settled("RDS", name);
      this.#deactivate("RDS", name, updates);
      this.#forgetActiveHosts(name);
    }
    this.#dropVirtualHosts();
  }

  #dropClusters(updates: ResourceUpdate[], patient: Patience): void {
    for (const name of this.#waiting.names("CDS")) {
      if (this.#received.CDS.has(name)) continue;
      const gone = this.#active.CDS.get(name);
      // Routes that still name it may be about to change; but a control plane that never changes them has its way in the end.
      if (gone !== undefined && this.#usedClusters.has(name) && patient("CDS", name)) continue;
      this.#usedEndpoints.remove(gone?.references.endpoints ?? []);
      this.#deactivate("CDS", name, updates);
      this.#waiting.settled("CDS", name);
    }
  }

  #dropEndpoints(updates: ResourceUpdate[]): void {
    this.#usedEndpoints.takeReleased();
    this.#usedClusters.takeReleased();
    for (const name of this.#needs.takeReleased("EDS")) {
      this.#received.EDS.delete(name);
      this.#absentEndpoints.delete(name);
      this.#deactivate("EDS", name, updates);
    }
  }

  #dropSecrets(updates: ResourceUpdate[]): void {
    for (const name of this.#needs.takeReleased("SDS")) {
      this.#received.SDS.delete(name);
      this.#deactivate("SDS", name, updates);
    }
  }

  #inUse(shortName: ShortName, names: Iterable<string>): boolean {
    const active = this.#active[shortName];
    for (const name of names) if (!active.has(name)) return false;
    return true;
  }

  #activate(shortName: ShortName, node: Node, updates: ResourceUpdate[]): void {
    const before = this.#active[shortName].get(node.name);
    this.#active[shortName].set(node.name, node);
    this.#waiting.settled(shortName, node.name);
    this.#needs.add(node.references);
    this.#needs.remove(before?.references);
    this.#usedClusters.add(node.references.clusters);
    this.#usedClusters.remove(before?.references.clusters ?? []);
    updates.push(update(shortName, node.name, node));
  }

  #deactivate(shortName: ShortName, name: string, updates: ResourceUpdate[]): void {
    const before = this.#active[shortName].get(name);
    this.#waiting.restart(shortName, name);
    if (before === undefined) return;
    this.#active[shortName].delete(name);
    this.#needs.remove(before.references);
    this.#usedClusters.remove(before.references.clusters);
    updates.push(update(shortName, name, null));
  }
}
