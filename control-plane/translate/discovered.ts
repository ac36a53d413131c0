import { create } from "@bufbuild/protobuf";

import { HealthStatus } from "#envoy/config/core/v3/health_check_pb.ts";
import {
  LbEndpointSchema,
  type LocalityLbEndpoints,
  LocalityLbEndpointsSchema,
} from "#envoy/config/endpoint/v3/endpoint_components_pb.ts";
import type { ClusterLoadAssignment } from "#envoy/config/endpoint/v3/endpoint_pb.ts";
import { type Endpoint, EndpointHealth, type ServiceSnapshot } from "#sluice/discovery/v1/snapshot_pb.ts";
import type { Discovery, Upstream } from "#sluice/model/v1/upstream_pb.ts";

import { toLoadAssignment } from "./endpoints.ts";

/** What a registry last said of a service; undefined as long as it may still be about to answer for the first time. */
export type FindSnapshot = (discovery: Discovery) => ServiceSnapshot | undefined;

/** Where data planes look for what subsets are made by (Envoy, "Load balancer subsets"). */
const LB_METADATA = "envoy.lb";

const healths: ReadonlyMap<EndpointHealth, HealthStatus> = new Map([
  [EndpointHealth.HEALTHY, HealthStatus.HEALTHY],
  [EndpointHealth.DRAINING, HealthStatus.DRAINING],
]);

/** The endpoints found for an upstream, by locality; its nodes are the priorities behind them. */
export function toDiscoveredAssignment(
  clusterName: string,
  upstream: Upstream,
  discovery: Discovery,
  snapshot: ServiceSnapshot,
): ClusterLoadAssignment {
  const assignment = toLoadAssignment(clusterName, upstream);
  const chosen = snapshot.endpoints.filter((endpoint) => isChosen(endpoint, discovery));
  const found = [...Map.groupBy(chosen, ({ region, zone, subZone }) => JSON.stringify([region, zone, subZone]))]
    // By name, so that the same endpoints are the same bytes.
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, endpoints]) => locality(endpoints, discovery));
  if (found.length === 0) return assignment;
  for (const { ...fallback } of assignment.endpoints) found.push({ ...fallback, priority: fallback.priority + 1 });
  assignment.endpoints = found;
  return assignment;
}

/**
 * Whether an upstream sends to an endpoint. What the registry calls unhealthy is left out rather than marked: of a cluster that is mostly
 * unhealthy, data planes would use everything ("panic").
 */
function isChosen(endpoint: Endpoint, discovery: Discovery): boolean {
  const { zones, tags, metadata } = discovery;
  if (endpoint.health === EndpointHealth.UNHEALTHY || endpoint.weight === 0) return false;
  if (portOf(endpoint, discovery) === undefined) return false;
  if (zones.length > 0 && !zones.includes(endpoint.zone)) return false;
  if (!tags.every((tag) => endpoint.tags.includes(tag))) return false;
  return Object.entries(metadata).every(([name, value]) => endpoint.metadata[name] === value);
}

function portOf({ port, ports }: Endpoint, { portSpecifier }: Discovery): number | undefined {
  const chosen = portSpecifier.case === "portName" ? ports[portSpecifier.value] : (portSpecifier.value ?? port);
  return chosen === undefined || chosen === 0 ? undefined : chosen;
}

function locality(endpoints: readonly Endpoint[], discovery: Discovery): LocalityLbEndpoints {
  const { region = "", zone = "", subZone = "" } = endpoints[0] ?? {};
  const isSomewhere = region !== "" || zone !== "" || subZone !== "";
  return create(LocalityLbEndpointsSchema, {
    ...(isSomewhere && { locality: { region, zone, subZone } }),
    lbEndpoints: endpoints.map((endpoint) => {
      const { address, hostname, weight, health, metadata } = endpoint;
      const portValue = portOf(endpoint, discovery) ?? 0;
      const socketAddress = { address, portSpecifier: { case: "portValue", value: portValue } } as const;
      const value = { hostname, address: { address: { case: "socketAddress", value: socketAddress } } } as const;
      return create(LbEndpointSchema, {
        hostIdentifier: { case: "endpoint", value },
        healthStatus: healths.get(health) ?? HealthStatus.UNKNOWN,
        loadBalancingWeight: weight ?? 1,
        ...(Object.keys(metadata).length > 0 && { metadata: { filterMetadata: { [LB_METADATA]: { ...metadata } } } }),
      });
    }),
  });
}
