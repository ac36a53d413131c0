import type { Cluster } from "#envoy/config/cluster/v3/cluster_pb.ts";
import { RoutingPriority } from "#envoy/config/core/v3/base_pb.ts";

import type { AdminSource } from "./admin/source.ts";
import { breakersOf } from "./cluster/breakers.ts";
import { statNameOf } from "./cluster/compile.ts";
import { clusterGauge, countedClusters } from "./cluster-gauge.ts";
import type { Sample, ScopeGauges } from "./observe/stats-reader.ts";

/** Each breaker: whether it is open, how much is left of it, and the gauge that comes up against its limit. */
const breakers = [
  ["cx_open", "remaining_cx", "maxConnections", "upstream_cx_active"],
  ["rq_pending_open", "remaining_pending", "maxPendingRequests", "upstream_rq_pending_active"],
  ["rq_open", "remaining_rq", "maxRequests", "upstream_rq_active"],
] as const;

/**
 * `cluster.<name>.circuit_breakers.default.*` of all clusters. Limits hold in each worker by itself: a breaker counts as open when it is in any of them,
 * and what remains (where the cluster asks for it, track_remaining) is the sum. Made when somebody asks.
 * https://www.envoyproxy.io/docs/envoy/latest/configuration/upstream/cluster_manager/cluster_stats#circuit-breakers-statistics
 */
export function* breakerSamples(
  active: AdminSource["active"],
  workers: number,
  gauges: Iterable<ScopeGauges>,
): Generator<Sample> {
  const byCluster = Map.groupBy(gauges, ({ name }) => name);
  for (const cluster of countedClusters(active)) {
    const thresholds = cluster.circuitBreakers?.thresholds.find(({ priority }) => priority === RoutingPriority.DEFAULT);
    const limits = breakersOf(thresholds);
    const counted = byCluster.get(statNameOf(cluster)) ?? [];
    // max_connection_pools is refused, and without it there is no limit of pools.
    yield sample(cluster, "cx_pool_open", 0);
    for (const [open, remaining, limit, gauge] of breakers) {
      const levels = counted.map(({ gauges }) => gauges.get(gauge) ?? 0);
      yield sample(cluster, open, levels.some((level) => level >= limits[limit]) ? 1 : 0);
      if (thresholds?.trackRemaining !== true) continue;
      const used = levels.reduce((sum, level) => sum + Math.min(level, limits[limit]), 0);
      yield sample(cluster, remaining, limits[limit] * Math.max(workers, levels.length) - used);
    }
  }
}

const sample = (cluster: Cluster, stat: string, value: number) =>
  clusterGauge(cluster, `circuit_breakers.default.${stat}`, value);
