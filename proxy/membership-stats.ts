import { type Cluster, Cluster_DiscoveryType } from "#envoy/config/cluster/v3/cluster_pb.ts";
import { HealthStatus } from "#envoy/config/core/v3/health_check_pb.ts";
import type { ClusterLoadAssignment } from "#envoy/config/endpoint/v3/endpoint_pb.ts";
import { resourceType } from "#proto/resource-types.ts";

import type { AdminSource } from "./admin/source.ts";
import { clusterGauge, countedClusters } from "./cluster-gauge.ts";
import type { Sample } from "./observe/stats-reader.ts";

/**
 * `cluster.<name>.membership_*` of all clusters, by what the control plane says of their endpoints; of names that are resolved here (DNS) it
 * says nothing. Made when somebody asks.
 */
export function* membershipSamples(active: AdminSource["active"]): Generator<Sample> {
  const assignments = active(resourceType("EDS"));
  for (const cluster of countedClusters(active)) {
    const assignment = assignmentOf(
      cluster,
      (name) => assignments.get(name)?.message as ClusterLoadAssignment | undefined,
    );
    if (assignment === undefined) continue;
    const counts = { total: 0, healthy: 0, degraded: 0 };
    for (const { lbEndpoints } of assignment.endpoints) {
      for (const { healthStatus } of lbEndpoints) {
        counts.total++;
        if (healthStatus === HealthStatus.UNKNOWN || healthStatus === HealthStatus.HEALTHY) counts.healthy++;
        if (healthStatus === HealthStatus.DEGRADED) counts.degraded++;
      }
    }
    for (const [what, value] of Object.entries(counts)) yield clusterGauge(cluster, `membership_${what}`, value);
  }
}

function assignmentOf(
  { name, clusterDiscoveryType, edsClusterConfig, loadAssignment }: Cluster,
  find: (name: string) => ClusterLoadAssignment | undefined,
): ClusterLoadAssignment | undefined {
  switch (clusterDiscoveryType.case === "type" ? clusterDiscoveryType.value : undefined) {
    case Cluster_DiscoveryType.EDS:
      return find(edsClusterConfig?.serviceName || name);
    case Cluster_DiscoveryType.STATIC:
      return loadAssignment;
    default:
      return undefined;
  }
}
