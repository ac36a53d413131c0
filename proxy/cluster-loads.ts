import type { AdminSource } from "./admin/source.ts";
import { countedClusters } from "./cluster-facts.ts";
import type { StatsReader } from "./observe/stats-reader.ts";
import type { ClusterLoad } from "./xds/load-reports.ts";

/** The loads of the clusters that say `lrs_server`, by what is counted of them over all workers. Made when somebody asks. */
export function* clusterLoads(
  active: AdminSource["active"],
  stats: Pick<StatsReader, "totals">,
): Generator<ClusterLoad> {
  const reporting = [...countedClusters(active)].filter(({ loadName }) => loadName !== undefined);
  if (reporting.length === 0) return;
  const totals = new Map(Array.from(stats.totals("cluster"), (each) => [each.name, each]));
  for (const cluster of reporting) {
    const counted = totals.get(cluster.statName);
    const { name, loadName: serviceName = "" } = cluster;
    const of = (stat: string) => counted?.value(stat) ?? 0;
    const [issued, inProgress] = [of("upstream_rq_total"), of("upstream_rq_active")];
    const successful = of("upstream_rq_completed") - of("upstream_rq_5xx");
    // Whatever ended otherwise has failed, unless its client gave it up.
    const failed = Math.max(0, issued - inProgress - successful - of("upstream_rq_cancelled"));
    const dropped = of("upstream_rq_pending_overflow");
    yield { cluster: name, serviceName, issued, successful, failed, dropped, inProgress };
  }
}
