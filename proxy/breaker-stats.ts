import type { AdminSource } from "./admin/source.ts";
import { countedClusters } from "./cluster-facts.ts";
import { clusterGauge } from "./cluster-gauge.ts";
import type { Sample, ScopeGauges } from "./observe/stats-reader.ts";

/** Each breaker: whether it is open, how much is left of it, the gauge that comes up against its limit, and what of that is of priority HIGH. */
const breakers = [
  ["cx_open", "remaining_cx", "maxConnections", "upstream_cx_active", "high.cx_active"],
  [
    "rq_pending_open",
    "remaining_pending",
    "maxPendingRequests",
    "upstream_rq_pending_active",
    "high.rq_pending_active",
  ],
  ["rq_open", "remaining_rq", "maxRequests", "upstream_rq_active", "high.rq_active"],
] as const;

/**
 * `cluster.<name>.circuit_breakers.<priority>.*` of all clusters. Limits hold in each worker by itself: a breaker counts as open when it is in any of them,
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
    const counted = byCluster.get(cluster.statName) ?? [];
    for (const priority of ["default", "high"] as const) {
      const { breakers: limits, trackRemaining } = cluster[priority];
      const sample = (stat: string, value: number) =>
        clusterGauge(cluster.statName, `circuit_breakers.${priority}.${stat}`, value);
      // max_connection_pools is refused, and without it there is no limit of pools.
      yield sample("cx_pool_open", 0);
      for (const [open, remaining, limit, gauge, ofHigh] of breakers) {
        const levels = counted.map(({ gauges: all }) => {
          const high = all.get(ofHigh) ?? 0;
          return priority === "high" ? high : (all.get(gauge) ?? 0) - high;
        });
        yield sample(open, levels.some((level) => level >= limits[limit]) ? 1 : 0);
        if (!trackRemaining) continue;
        const used = levels.reduce((sum, level) => sum + Math.min(level, limits[limit]), 0);
        yield sample(remaining, limits[limit] * Math.max(workers, levels.length) - used);
      }
    }
  }
}
