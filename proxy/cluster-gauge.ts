import type { Sample } from "./observe/stats-reader.ts";

/** A gauge of a cluster that is known without asking the workers, under the name that its statistics have. */
export function clusterGauge(statName: string, stat: string, value: number): Sample {
  const name = statName.replaceAll(":", "_");
  return {
    kind: "gauge",
    name: `cluster.${name}.${stat}`,
    metric: `envoy_cluster_${stat.replaceAll(".", "_")}`,
    tags: [["envoy_cluster_name", name]],
    value,
  };
}
