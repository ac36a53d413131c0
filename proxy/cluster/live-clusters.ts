import type { Deferred } from "../compile.ts";
import { type Assignment, NO_ENDPOINTS } from "./assignment.ts";
import type { Cluster } from "./cluster.ts";
import type { ClusterConfig } from "./compile.ts";
import { DnsWatch } from "./dns.ts";
import { LiveCluster } from "./live.ts";

/**
 * Joins clusters to where their endpoints come from: the Cluster itself, EDS, or DNS. A cluster of EDS, and its endpoints, may be deferred: they are
 * made when somebody first asks for the cluster, since of ten thousand most are asked for by nobody. From then on the cluster is kept like all others.
 */
export class LiveClusters {
  readonly #clusters = new Map<string, LiveCluster | Deferred<ClusterConfig>>();
  /** By EDS service name. An assignment may be there before the cluster that it is for. */
  readonly #assignments = new Map<string, Assignment | Deferred<Assignment>>();
  readonly #byService = new Map<string, Set<LiveCluster>>();
  readonly #watches = new Map<string, DnsWatch>();
  readonly #nameGone: (statName: string) => void;
  /** How many clusters that were made are called so in statistics. */
  readonly #statNames = new Map<string, number>();

  /** `nameGone`: told what a cluster that is gone was called in statistics, unless another one is called so. */
  constructor(nameGone: (statName: string) => void = () => {}) {
    this.#nameGone = nameGone;
  }

  /** The cluster of a name. */
  get(name: string): Cluster | undefined {
    const cluster = this.#clusters.get(name);
    return typeof cluster === "function" ? this.#add(name, cluster()) : cluster;
  }

  /** All clusters. Those that nobody has asked for are made to be looked at, and not kept. */
  *all(): Generator<Cluster> {
    for (const cluster of this.#clusters.values())
      yield typeof cluster === "function" ? this.#show(cluster()) : cluster;
  }

  /** Adds or changes a cluster. The endpoints that it keeps stay the same objects. Only one of EDS may be deferred. */
  configure(name: string, config: ClusterConfig | Deferred<ClusterConfig>): void {
    const cluster = this.#clusters.get(name);
    if (!(cluster instanceof LiveCluster)) {
      if (typeof config === "function") this.#clusters.set(name, config);
      else this.#add(name, config);
      return;
    }
    if (cluster.config === config) return; // It was warmed.
    this.#detach(cluster);
    this.#count(cluster, -1);
    cluster.configure(typeof config === "function" ? config() : config);
    this.#count(cluster, 1);
    this.#attach(cluster);
  }

  /**
   * Adds a cluster before anything sends to it, if it is new and has names to resolve. Resolves once they are, or failed; undefined:
   * there is nothing to wait for.
   */
  warm(name: string, config: ClusterConfig | Deferred<ClusterConfig>): Promise<void> | undefined {
    if (typeof config === "function" || config.discovery.kind !== "dns" || this.#clusters.has(name)) return undefined;
    this.configure(name, config);
    return this.#watches.get(name)?.answered;
  }

  /** Replaces the endpoints of an EDS service, for every cluster of it. */
  assign(serviceName: string, assignment: Assignment | Deferred<Assignment>): void {
    if (assignment === NO_ENDPOINTS) this.#assignments.delete(serviceName);
    else this.#assignments.set(serviceName, assignment);
    for (const cluster of this.#byService.get(serviceName) ?? []) cluster.assign(this.#assignmentOf(serviceName));
  }

  /** Removes a cluster; its endpoints are no longer alive, requests that run go on. */
  remove(name: string): void {
    const cluster = this.#clusters.get(name);
    this.#clusters.delete(name);
    if (!(cluster instanceof LiveCluster)) return;
    this.#detach(cluster);
    cluster.assign(NO_ENDPOINTS);
    if (this.#count(cluster, -1) === 0) this.#nameGone(cluster.settings.statName);
  }

  /** Stops resolving names. */
  close(): void {
    for (const watch of this.#watches.values()) watch.stop();
    this.#watches.clear();
  }

  #add(name: string, config: ClusterConfig): LiveCluster {
    const cluster = new LiveCluster(config);
    this.#clusters.set(name, cluster);
    this.#count(cluster, 1);
    this.#attach(cluster);
    return cluster;
  }

  /** Another cluster, or one less, is called so in statistics. Returns how many are. */
  #count({ settings: { statName } }: LiveCluster, by: 1 | -1): number {
    const count = (this.#statNames.get(statName) ?? 0) + by;
    if (count === 0) this.#statNames.delete(statName);
    else this.#statNames.set(statName, count);
    return count;
  }

  /** A cluster with its endpoints that nothing else knows of, and that is told of no change. */
  #show(config: ClusterConfig): LiveCluster {
    const cluster = new LiveCluster(config);
    const { discovery } = config;
    const assignment = discovery.kind === "eds" ? this.#assignments.get(discovery.serviceName) : discovery.assignment;
    cluster.assign((typeof assignment === "function" ? assignment() : assignment) ?? NO_ENDPOINTS);
    return cluster;
  }

  /** The endpoints of an EDS service, made if need be, and kept. */
  #assignmentOf(serviceName: string): Assignment {
    const assignment = this.#assignments.get(serviceName) ?? NO_ENDPOINTS;
    if (typeof assignment !== "function") return assignment;
    const made = assignment();
    this.#assignments.set(serviceName, made);
    return made;
  }

  #attach(cluster: LiveCluster): void {
    const { discovery } = cluster.config;
    switch (discovery.kind) {
      case "eds": {
        const others = this.#byService.get(discovery.serviceName) ?? new Set();
        this.#byService.set(discovery.serviceName, others.add(cluster));
        cluster.assign(this.#assignmentOf(discovery.serviceName));
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
