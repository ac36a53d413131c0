import { type Cluster, Cluster_DiscoveryType } from "#envoy/config/cluster/v3/cluster_pb.ts";
import { HealthStatus } from "#envoy/config/core/v3/health_check_pb.ts";
import type { ClusterLoadAssignment } from "#envoy/config/endpoint/v3/endpoint_pb.ts";
import { resourceType } from "#proto/resource-types.ts";

import type { AdminSource } from "./admin/source.ts";
import { clusterGauge, countedClusters } from "./cluster-gauge.ts";
import type { Sample } from "./observe/stats-reader.ts";
import type { Resource } from "./xds/resource.ts";

/**
 * `cluster.<name>.membership_*` of all clusters, by what the control plane says of their endpoints; of names that are resolved here (DNS) it
 * says nothing. Made when somebody asks.
 */
export function* membershipSamples(active: AdminSource["active"]): Generator<Sample> {
  const assignments = active(resourceType("EDS"));
  for (const cluster of countedClusters(active)) {
    const counts = countsOf(cluster, (name) => assignments.get(name));
    if (counts === undefined) continue;
    for (const [what, value] of Object.entries(counts)) yield clusterGauge(cluster, `membership_${what}`, value);
  }
}

/** How many endpoints a cluster has, by health. */
interface Counts {
  readonly total: number;
  readonly healthy: number;
  readonly degraded: number;
}

/** Of endpoint sets as they came: to look at all of them again takes its time. */
const known = new WeakMap<Resource, Counts>();

function countsOf(
  { name, clusterDiscoveryType, edsClusterConfig, loadAssignment }: Cluster,
  find: (name: string) => Resource | undefined,
): Counts | undefined {
  switch (clusterDiscoveryType.case === "type" ? clusterDiscoveryType.value : undefined) {
    case Cluster_DiscoveryType.EDS: {
      const resource = find(edsClusterConfig?.serviceName || name);
      if (resource === undefined) return undefined;
      const counts = known.get(resource) ?? count(resource.message as ClusterLoadAssignment);
      known.set(resource, counts);
      return counts;
    }
    case Cluster_DiscoveryType.STATIC:
      return loadAssignment && count(loadAssignment);
    default:
      return undefined;
  }
}

function count({ endpoints }: ClusterLoadAssignment): Counts {
  const counts = { total: 0, healthy: 0, degraded: 0 };
  for (const { healthStatus } of endpoints.flatMap(({ lbEndpoints }) => lbEndpoints)) {
    counts.total++;
    if (healthStatus === HealthStatus.UNKNOWN || healthStatus === HealthStatus.HEALTHY) counts.healthy++;
    if (healthStatus === HealthStatus.DEGRADED) counts.degraded++;
  }
  return counts;
}
