import { type Assignment, NO_ENDPOINTS } from "./assignment.ts";
import type { Cluster } from "./cluster.ts";
import type { ClusterConfig } from "./compile.ts";
import { DnsWatch } from "./dns.ts";
import { LiveCluster } from "./live.ts";

/** Joins clusters to where their endpoints come from: the Cluster itself, EDS, or DNS. */
export class LiveClusters {
  readonly #clusters = new Map<string, LiveCluster>();
  /** By EDS service name. An assignment may be there before the cluster that it is for. */
  readonly #assignments = new Map<string, Assignment>();
  readonly #byService = new Map<string, Set<LiveCluster>>();
  readonly #watches = new Map<string, DnsWatch>();

  /** The cluster of a name. */
  get(name: string): Cluster | undefined {
    return this.#clusters.get(name);
  }

  /** All clusters. */
  all(): Iterable<Cluster> {
    return this.#clusters.values();
  }

  /** Adds or changes a cluster. The endpoints that it keeps stay the same objects. */
  configure(name: string, config: ClusterConfig): void {
    let cluster = this.#clusters.get(name);
    if (cluster?.config === config) return; // It was warmed.
    if (cluster === undefined) {
      cluster = new LiveCluster(config);
      this.#clusters.set(name, cluster);
    } else {
      this.#detach(cluster);
      cluster.configure(config);
    }
    this.#attach(cluster);
  }

  /**
   * Adds a cluster before anything sends to it, if it is new and has names to resolve. Resolves once they are, or failed; undefined:
   * there is nothing to wait for.
   */
  warm(name: string, config: ClusterConfig): Promise<void> | undefined {
    if (config.discovery.kind !== "dns" || this.#clusters.has(name)) return undefined;
    this.configure(name, config);
    return this.#watches.get(name)?.answered;
  }

  /** Replaces the endpoints of an EDS service, for every cluster of it. */
  assign(serviceName: string, assignment: Assignment): void {
    if (assignment === NO_ENDPOINTS) this.#assignments.delete(serviceName);
    else this.#assignments.set(serviceName, assignment);
    for (const cluster of this.#byService.get(serviceName) ?? []) cluster.assign(assignment);
  }

  /** Removes a cluster; its endpoints are no longer alive, requests that run go on. */
  remove(name: string): void {
    const cluster = this.#clusters.get(name);
    if (cluster === undefined) return;
    this.#detach(cluster);
    this.#clusters.delete(name);
    cluster.assign(NO_ENDPOINTS);
  }

  /** Stops resolving names. */
  close(): void {
    for (const watch of this.#watches.values()) watch.stop();
    this.#watches.clear();
  }

  #attach(cluster: LiveCluster): void {
    const { discovery } = cluster.config;
    switch (discovery.kind) {
      case "eds": {
        const others = this.#byService.get(discovery.serviceName) ?? new Set();
        this.#byService.set(discovery.serviceName, others.add(cluster));
        cluster.assign(this.#assignments.get(discovery.serviceName) ?? NO_ENDPOINTS);
        break;
      }
      case "static":
        cluster.assign(discovery.assignment);
        break;
      case "dns":
        // What was resolved before stays until there is an answer.
        this.#watches.set(
          cluster.name,
          new DnsWatch(discovery.assignment, discovery.dns, (assignment) => cluster.assign(assignment)),
        );
        break;
    }
  }

  #detach(cluster: LiveCluster): void {
    const { discovery } = cluster.config;
    if (discovery.kind === "eds") {
      const others = this.#byService.get(discovery.serviceName);
      others?.delete(cluster);
      if (others?.size === 0) this.#byService.delete(discovery.serviceName);
    }
    this.#watches.get(cluster.name)?.stop();
    this.#watches.delete(cluster.name);
  }
}
