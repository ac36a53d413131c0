import type { Breakers, Cluster, ClusterLoad } from "../cluster/cluster.ts";
import type { ClusterStats, Counter, Runtime } from "../listen/context.ts";

/**
 * A cluster with where it is counted, for requests of one routing priority: those of HIGH have breakers, connections and counts against the
 * breakers of their own, so that they get through where all others are too many.
 */
export class ClusterContext {
  readonly cluster: Cluster;
  readonly statName: string;
  readonly stats: ClusterStats;
  /** By first digit of the status. */
  readonly byClass: readonly (Counter | undefined)[];
  /** Whether it is the one for requests of priority HIGH. */
  readonly isHigh: boolean;
  /** What is under way against the breakers. */
  readonly load: ClusterLoad;
  /** Whether the breaker of retries is shown to be open. */
  readonly retryBreaker = { open: false };
  /** Where its TLS finds secrets. */
  readonly secrets: Pick<Runtime, "secret">;

  constructor(cluster: Cluster, stats: ClusterStats, secrets: Pick<Runtime, "secret">, isHigh: boolean) {
    this.cluster = cluster;
    this.statName = cluster.settings.statName;
    this.stats = stats;
    cluster.panics = stats.lb_healthy_panic;
    this.byClass = [
      undefined,
      stats.upstream_rq_1xx,
      stats.upstream_rq_2xx,
      stats.upstream_rq_3xx,
      stats.upstream_rq_4xx,
      stats.upstream_rq_5xx,
    ];
    this.isHigh = isHigh;
    this.load = isHigh ? cluster.highLoad : cluster.load;
    this.secrets = secrets;
  }

  /** The limits as they are configured now. */
  get breakers(): Breakers {
    const { settings } = this.cluster;
    return this.isHigh ? settings.highBreakers : settings.breakers;
  }
}

const contexts = new WeakMap<Cluster, ClusterContext>();
const highContexts = new WeakMap<Cluster, ClusterContext>();

/** The cluster of a name, for requests of priority HIGH or of the default one; undefined: there is none. */
export function findCluster(runtime: Runtime, name: string, isHigh = false): ClusterContext | undefined {
  const cluster = runtime.cluster(name);
  if (cluster === undefined) return undefined;
  const known = isHigh ? highContexts : contexts;
  let context = known.get(cluster);
  const { statName } = cluster.settings;
  if (context === undefined || context.statName !== statName) {
    context = new ClusterContext(cluster, runtime.stats.cluster(statName), runtime, isHigh);
    known.set(cluster, context);
  }
  return context;
}
