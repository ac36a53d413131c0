import type { Cluster } from "../cluster/cluster.ts";
import type { ClusterStats, Counter, Runtime } from "../listen/context.ts";

/** A cluster with where it is counted. */
export interface ClusterContext {
  readonly cluster: Cluster;
  readonly statName: string;
  readonly stats: ClusterStats;
  /** By first digit of the status. */
  readonly byClass: readonly (Counter | undefined)[];
  /** Whether the breaker of retries is shown to be open. */
  readonly retryBreaker: { open: boolean };
  /** Where its TLS finds secrets. */
  readonly secrets: Pick<Runtime, "secret">;
}

const contexts = new WeakMap<Cluster, ClusterContext>();

/** The cluster of a name; undefined: there is none. */
export function findCluster(runtime: Runtime, name: string): ClusterContext | undefined {
  const cluster = runtime.cluster(name);
  if (cluster === undefined) return undefined;
  let context = contexts.get(cluster);
  const { statName } = cluster.settings;
  if (context === undefined || context.statName !== statName) {
    const stats = runtime.stats.cluster(statName);
    const byClass = [
      undefined,
      stats.upstream_rq_1xx,
      stats.upstream_rq_2xx,
      stats.upstream_rq_3xx,
      stats.upstream_rq_4xx,
      stats.upstream_rq_5xx,
    ];
    context = { cluster, statName, stats, byClass, retryBreaker: { open: false }, secrets: runtime };
    contexts.set(cluster, context);
  }
  return context;
}
