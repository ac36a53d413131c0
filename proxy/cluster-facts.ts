import { type Cluster, Cluster_DiscoveryType } from "#envoy/config/cluster/v3/cluster_pb.ts";
import { RoutingPriority } from "#envoy/config/core/v3/base_pb.ts";
import { HealthStatus } from "#envoy/config/core/v3/health_check_pb.ts";
import type { ClusterLoadAssignment } from "#envoy/config/endpoint/v3/endpoint_pb.ts";
import { resourceType } from "#proto/resource-types.ts";

import type { AdminSource } from "./admin/source.ts";
import { breakersOf } from "./cluster/breakers.ts";
import type { Breakers } from "./cluster/cluster.ts";
import { statNameOf } from "./cluster/compile.ts";
import type { Resource } from "./xds/resource.ts";

/** What statistics ask of a cluster as it is configured. */
export interface ClusterFacts {
  readonly name: string;
  /** What statistics call it. */
  readonly statName: string;
  /** By what name EDS knows its endpoints; undefined: it has them otherwise. */
  readonly serviceName: string | undefined;
  /** The name that its load is reported by besides its own, if it has one; undefined: nobody wants to know its load (`lrs_server`). */
  readonly loadName: string | undefined;
  /** Of the endpoints in the cluster itself; undefined: they are elsewhere. */
  readonly own: EndpointCounts | undefined;
  readonly default: Limits;
  readonly high: Limits;
}

/** The limits of one routing priority. */
export interface Limits {
  readonly breakers: Breakers;
  /** Whether what is left of them shall be shown. */
  readonly trackRemaining: boolean;
}

/** How many endpoints there are, by health. */
export interface EndpointCounts {
  readonly total: number;
  readonly healthy: number;
  readonly degraded: number;
}

/** Resources are kept as bytes; to decode all of them for each scrape would take its time. */
const factsByResource = new WeakMap<Resource, ClusterFacts>();
const countsByResource = new WeakMap<Resource, EndpointCounts>();

/** Shared by all clusters that have no thresholds, which is most. */
const NO_LIMITS: Limits = { breakers: breakersOf(undefined), trackRemaining: false };

/** All clusters; of those that share an alt_stat_name the first, since a gauge has one value. */
export function* countedClusters(active: AdminSource["active"]): Generator<ClusterFacts> {
  const seen = new Set<string>();
  for (const resource of active(resourceType("CDS")).values()) {
    const facts = memo(factsByResource, resource, factsOf);
    if (!seen.has(facts.statName)) yield facts;
    seen.add(facts.statName);
  }
}

/** Of an endpoint set as it came. */
export const endpointCounts = (assignment: Resource): EndpointCounts =>
  memo(countsByResource, assignment, ({ message }) => count(message as ClusterLoadAssignment));

function memo<T>(known: WeakMap<Resource, T>, resource: Resource, make: (resource: Resource) => T): T {
  let value = known.get(resource);
  if (value === undefined) known.set(resource, (value = make(resource)));
  return value;
}

function factsOf({ message }: Resource): ClusterFacts {
  const cluster = message as Cluster;
  const { name, clusterDiscoveryType, edsClusterConfig, loadAssignment } = cluster;
  const type = clusterDiscoveryType.case === "type" ? clusterDiscoveryType.value : undefined;
  return {
    name,
    statName: statNameOf(cluster),
    loadName: cluster.lrsServer === undefined ? undefined : (edsClusterConfig?.serviceName ?? ""),
    serviceName: type === Cluster_DiscoveryType.EDS ? edsClusterConfig?.serviceName || name : undefined,
    own: type === Cluster_DiscoveryType.STATIC && loadAssignment !== undefined ? count(loadAssignment) : undefined,
    default: limitsOf(cluster, RoutingPriority.DEFAULT),
    high: limitsOf(cluster, RoutingPriority.HIGH),
  };
}

function limitsOf({ circuitBreakers }: Cluster, wanted: RoutingPriority): Limits {
  const thresholds = circuitBreakers?.thresholds.find(({ priority }) => priority === wanted);
  if (thresholds === undefined) return NO_LIMITS;
  return { breakers: breakersOf(thresholds), trackRemaining: thresholds.trackRemaining };
}

function count({ endpoints }: ClusterLoadAssignment): EndpointCounts {
  const counts = { total: 0, healthy: 0, degraded: 0 };
  for (const { healthStatus } of endpoints.flatMap(({ lbEndpoints }) => lbEndpoints)) {
    counts.total++;
    if (healthStatus === HealthStatus.UNKNOWN || healthStatus === HealthStatus.HEALTHY) counts.healthy++;
    if (healthStatus === HealthStatus.DEGRADED) counts.degraded++;
  }
  return counts;
}
