import type { Message } from "@bufbuild/protobuf";

import { type ResourceType, resourceType } from "#proto/resource-types.ts";

import { NameCounts } from "./names.ts";
import { type References, referencesOf } from "./references.ts";

/** A resource put in place or, when `bytes` is null, taken away. Bytes may be shared: nobody writes to them. */
export interface ResourceUpdate {
  readonly typeUrl: string;
  readonly name: string;
  readonly bytes: Uint8Array | null;
}

/** A resource as it came from a control plane (or from disk), judged and found good. */
export interface Resource {
  readonly name: string;
  readonly version: string;
  readonly bytes: Uint8Array;
  readonly message: Message;
  /** When it came, wall clock, ms since 1970. */
  readonly updatedMs: number;
}

interface Node extends Resource {
  readonly references: References;
}

/** How long a resource waits for what it names: Envoy's initial_fetch_timeout (15 s). */
export const WARMING_MS_MAX = 15_000;

type ShortName = ResourceType["shortName"];
const byType = <T>(make: () => T): Record<ShortName, T> => ({
  CDS: make(),
  EDS: make(),
  SDS: make(),
  LDS: make(),
  RDS: make(),
});

/**
 * Holds back what is not yet of use, so that the data path only ever sees whole graphs (rule W7, gRPC A74): a cluster goes in with its
 * endpoints, a route table when the clusters that it names are in, a listener when its route table is. A changed resource replaces the
 * old one under the same conditions; until then the old one serves. What fell out is removed after what named it (W6).
 *
 * Time is passed in (`nowMs` of any clock that doesn't go back). A call costs what changed and what waits, not what is there.
 */
export class Graph {
  /** The latest of each, whether in use or not. */
  readonly #received = byType(() => new Map<string, Node>());
  /** What the data path has. */
  readonly #active = byType(() => new Map<string, Node>());
  /** Names whose latest state (which may be "gone") differs from what is in use. */
  readonly #changed = byType(() => new Set<string>());
  /** Since when a changed name waits, by type and name; not started anew when it changes again, or it might wait for ever. */
  readonly #waitingSince = byType(() => new Map<string, number>());
  /** Endpoint sets that the control plane says don't exist; a cluster need not wait for them (D4). */
  readonly #absentEndpoints = new Set<string>();
  /** Named by clusters, or by listeners, that are in use or about to be. */
  readonly #neededEndpoints = new NameCounts();
  readonly #neededRoutes = new NameCounts();
  /** Named by clusters or listeners that are in use or about to be. */
  readonly #neededSecrets = new NameCounts();
  /** Named by clusters in use. */
  readonly #usedEndpoints = new NameCounts();

  /** A resource came, new or changed. */
  put(type: ResourceType, resource: Resource): void {
    const node: Node = { ...resource, references: referencesOf(resource.message) };
    const received = this.#received[type.shortName];
    const before = received.get(node.name);
    received.set(node.name, node);
    this.#changed[type.shortName].add(node.name);
    if (type.shortName === "EDS") this.#absentEndpoints.delete(node.name);
    this.#need(node);
    this.#needNoMore(before);
  }

  /**
   * The control plane says that a resource doesn't exist. A listener or cluster goes; a route table, endpoint set or secret stays in use
   * while something in use names it, as in Envoy, which takes their removal as no news.
   */
  remove(type: ResourceType, name: string): void {
    const received = this.#received[type.shortName];
    this.#needNoMore(received.get(name));
    received.delete(name);
    this.#changed[type.shortName].add(name);
    if (type.shortName === "EDS") this.#absentEndpoints.add(name);
  }

  /** The names of route tables (RDS), endpoint sets (EDS) or secrets (SDS) to subscribe to. */
  needed(type: ResourceType): ReadonlySet<string> {
    if (type.shortName === "EDS") return this.#neededEndpoints.names();
    if (type.shortName === "RDS") return this.#neededRoutes.names();
    if (type.shortName === "SDS") return this.#neededSecrets.names();
    return new Set();
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
    return (["SDS", "CDS", "EDS", "RDS", "LDS"] as const).flatMap((shortName) =>
      [...this.#active[shortName].values()].map((node) => update(shortName, node.name, node.bytes)),
    );
  }

  /** Names of a type that wait for what they name, for logs and config_dump. */
  waiting(type: ResourceType): string[] {
    const received = this.#received[type.shortName];
    return [...this.#changed[type.shortName]].filter((name) => received.has(name));
  }

  /** When {@link settle} has something to do even if nothing comes; undefined: never. */
  nextDeadlineMs(): number | undefined {
    let first: number | undefined;
    for (const since of Object.values(this.#waitingSince).flatMap((map) => [...map.values()])) {
      if (first === undefined || since < first) first = since;
    }
    return first === undefined ? undefined : first + WARMING_MS_MAX;
  }

  /**
   * Takes into use all that has become whole, or has waited for `patienceMs`, and gives the updates for the data path: secrets, clusters with
   * endpoints, routes, listeners, and then what is no longer there in the opposite order.
   */
  settle(nowMs: number, patienceMs = WARMING_MS_MAX): ResourceUpdate[] {
    const updates: ResourceUpdate[] = [];
    const patient = (shortName: ShortName, name: string) => {
      const waiting = this.#waitingSince[shortName];
      const since = waiting.get(name) ?? nowMs;
      waiting.set(name, since);
      return nowMs - since < patienceMs;
    };
    this.#settleSecrets(updates);
    this.#settleClusters(updates, patient);
    this.#settleEndpoints(updates);
    this.#settleRoutes(updates, patient);
    this.#settleListeners(updates, patient);
    this.#dropRoutes(updates);
    this.#dropClusters(updates, patient);
    this.#dropEndpoints(updates);
    this.#dropSecrets(updates);
    return updates;
  }

  #settleSecrets(updates: ResourceUpdate[]): void {
    for (const name of this.#changed.SDS) {
      const node = this.#received.SDS.get(name);
      if (node !== undefined) this.#activate("SDS", node, updates);
    }
    this.#changed.SDS.clear();
  }

  #settleClusters(updates: ResourceUpdate[], patient: Patience): void {
    for (const name of this.#changed.CDS) {
      const node = this.#received.CDS.get(name);
      if (node === undefined) continue;
      const { endpoints, secrets } = node.references;
      const answered = (one: string) => this.#received.EDS.has(one) || this.#absentEndpoints.has(one);
      const whole = [...endpoints].every(answered) && this.#inUse("SDS", secrets);
      if (!whole && patient("CDS", name)) continue;
      this.#usedEndpoints.add(endpoints);
      this.#usedEndpoints.remove(this.#active.CDS.get(name)?.references.endpoints ?? []);
      this.#activate("CDS", node, updates);
      for (const one of endpoints) this.#changed.EDS.add(one);
    }
  }

  #settleEndpoints(updates: ResourceUpdate[]): void {
    for (const name of this.#changed.EDS) {
      const node = this.#received.EDS.get(name);
      if (node !== undefined && this.#usedEndpoints.has(name) && this.#active.EDS.get(name) !== node) {
        this.#activate("EDS", node, updates);
      }
    }
    // One that no cluster uses yet is looked at again when a cluster does.
    this.#changed.EDS.clear();
  }

  #settleRoutes(updates: ResourceUpdate[], patient: Patience): void {
    for (const name of this.#changed.RDS) {
      const node = this.#received.RDS.get(name);
      if (node === undefined) this.#changed.RDS.delete(name);
      else if (this.#inUse("CDS", node.references.clusters) || !patient("RDS", name)) {
        this.#activate("RDS", node, updates);
      }
    }
  }

  #settleListeners(updates: ResourceUpdate[], patient: Patience): void {
    for (const name of this.#changed.LDS) {
      const node = this.#received.LDS.get(name);
      if (node === undefined) {
        this.#deactivate("LDS", name, updates);
        this.#changed.LDS.delete(name);
        continue;
      }
      // No time limit here: a listener without routes would answer 404 to everybody; a closed port makes balancers look elsewhere.
      if (!this.#inUse("RDS", node.references.routes)) continue;
      const { clusters, secrets } = node.references;
      // Without its certificate in time it opens nevertheless, as in Envoy, and refuses the connections that would need it.
      const whole = this.#inUse("CDS", clusters) && this.#inUse("SDS", secrets);
      if (whole || !patient("LDS", name)) this.#activate("LDS", node, updates);
    }
  }

  #dropRoutes(updates: ResourceUpdate[]): void {
    for (const name of this.#neededRoutes.takeReleased()) {
      this.#received.RDS.delete(name);
      this.#changed.RDS.delete(name);
      this.#deactivate("RDS", name, updates);
    }
  }

  #dropClusters(updates: ResourceUpdate[], patient: Patience): void {
    for (const name of this.#changed.CDS) {
      if (this.#received.CDS.has(name)) continue;
      const gone = this.#active.CDS.get(name);
      // Routes that still name it may be about to change; but a control plane that never changes them has its way in the end.
      if (gone !== undefined && this.#isRoutedTo(name) && patient("CDS", name)) continue;
      this.#usedEndpoints.remove(gone?.references.endpoints ?? []);
      this.#deactivate("CDS", name, updates);
      this.#changed.CDS.delete(name);
    }
  }

  #dropEndpoints(updates: ResourceUpdate[]): void {
    this.#usedEndpoints.takeReleased();
    for (const name of this.#neededEndpoints.takeReleased()) {
      this.#received.EDS.delete(name);
      this.#absentEndpoints.delete(name);
      this.#deactivate("EDS", name, updates);
    }
  }

  #dropSecrets(updates: ResourceUpdate[]): void {
    for (const name of this.#neededSecrets.takeReleased()) {
      this.#received.SDS.delete(name);
      this.#deactivate("SDS", name, updates);
    }
  }

  #isRoutedTo(cluster: string): boolean {
    const users = [...this.#active.RDS.values(), ...this.#active.LDS.values()];
    return users.some(({ references }) => references.clusters.has(cluster));
  }

  #inUse(shortName: ShortName, names: ReadonlySet<string>): boolean {
    const active = this.#active[shortName];
    for (const name of names) if (!active.has(name)) return false;
    return true;
  }

  #activate(shortName: ShortName, node: Node, updates: ResourceUpdate[]): void {
    const before = this.#active[shortName].get(node.name);
    this.#active[shortName].set(node.name, node);
    this.#changed[shortName].delete(node.name);
    this.#waitingSince[shortName].delete(node.name);
    this.#need(node);
    this.#needNoMore(before);
    updates.push(update(shortName, node.name, node.bytes));
  }

  #deactivate(shortName: ShortName, name: string, updates: ResourceUpdate[]): void {
    const before = this.#active[shortName].get(name);
    this.#waitingSince[shortName].delete(name);
    if (before === undefined) return;
    this.#active[shortName].delete(name);
    this.#needNoMore(before);
    updates.push(update(shortName, name, null));
  }

  // A resource is counted once while it is the latest and once while it is in use.
  #need(node: Node): void {
    this.#neededEndpoints.add(node.references.endpoints);
    this.#neededRoutes.add(node.references.routes);
    this.#neededSecrets.add(node.references.secrets);
  }

  #needNoMore(node: Node | undefined): void {
    this.#neededEndpoints.remove(node?.references.endpoints ?? []);
    this.#neededRoutes.remove(node?.references.routes ?? []);
    this.#neededSecrets.remove(node?.references.secrets ?? []);
  }
}

/** Whether a resource that is not whole shall wait on; asking starts its time. */
type Patience = (shortName: ShortName, name: string) => boolean;

const update = (shortName: ShortName, name: string, bytes: Uint8Array | null): ResourceUpdate => ({
  typeUrl: resourceType(shortName).typeUrl,
  name,
  bytes,
});
