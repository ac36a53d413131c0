import type { Cluster } from "#envoy/config/cluster/v3/cluster_pb.ts";
import { resourceType } from "#proto/resource-types.ts";

import type { AdminSource } from "./admin/source.ts";
import { statNameOf } from "./cluster/compile.ts";
import type { Sample } from "./observe/stats-reader.ts";

/** A gauge of a cluster that is known without asking the workers, under the name that its statistics have. */
export function clusterGauge(cluster: Pick<Cluster, "name" | "altStatName">, stat: string, value: number): Sample {
  const name = statNameOf(cluster).replaceAll(":", "_");
  return {
    kind: "gauge",
    name: `cluster.${name}.${stat}`,
    metric: `envoy_cluster_${stat.replaceAll(".", "_")}`,
    tags: [["envoy_cluster_name", name]],
    value,
  };
}

/** All clusters; of those that share an alt_stat_name the first, since a gauge has one value. */
export function* countedClusters(active: AdminSource["active"]): Generator<Cluster> {
  const seen = new Set<string>();
  for (const { message } of active(resourceType("CDS")).values()) {
    const cluster = message as Cluster;
    const name = statNameOf(cluster);
    if (!seen.has(name)) yield cluster;
    seen.add(name);
  }
}
