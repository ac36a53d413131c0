import type { AdminSource } from "./admin/source.ts";
import { countedClusters } from "./cluster-facts.ts";
import type { ScopeTotals, StatsReader } from "./observe/stats-reader.ts";
import type { ClusterLoad } from "./xds/load-reports.ts";

/** The loads of the clusters that say `lrs_server`, by what is counted of them over all workers. Made when somebody asks. */
export function* clusterLoads(
  active: AdminSource["active"],
  stats: Pick<StatsReader, "totals">,
): Generator<ClusterLoad> {
  let totals: ReadonlyMap<string, ScopeTotals> | undefined;
  for (const { name: cluster, statName, loadName: serviceName } of countedClusters(active)) {
    if (serviceName === undefined) continue;
    totals ??= new Map(Array.from(stats.totals("cluster"), (each) => [each.name, each]));
    const counted = totals.get(statName);
    if (counted === undefined) continue;
    const [issued, inProgress] = [counted.value("upstream_rq_total"), counted.value("upstream_rq_active")];
    const successful = counted.value("upstream_rq_completed") - counted.value("upstream_rq_5xx");
    // Whatever ended otherwise has failed, unless its client gave it up.
    const failed = Math.max(0, issued - inProgress - successful - counted.value("upstream_rq_cancelled"));
    const dropped = counted.value("upstream_rq_pending_overflow");
    yield { cluster, serviceName, issued, successful, failed, dropped, inProgress };
  }
}
