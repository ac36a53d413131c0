import { create } from "@bufbuild/protobuf";

import { HealthStatus } from "#envoy/config/core/v3/health_check_pb.ts";
import {
  type LbEndpoint,
  LbEndpointSchema,
  type LocalityLbEndpoints,
  LocalityLbEndpointsSchema,
} from "#envoy/config/endpoint/v3/endpoint_components_pb.ts";
import type { ClusterLoadAssignment } from "#envoy/config/endpoint/v3/endpoint_pb.ts";
import { type Endpoint, EndpointHealth, type ServiceSnapshot } from "#sluice/discovery/v1/snapshot_pb.ts";
import type { Discovery, Upstream } from "#sluice/model/v1/upstream_pb.ts";

import { type Chosen, choose } from "../model/choice.ts";
import { toLoadAssignment } from "./endpoints.ts";

/** What a registry last said of a service; undefined as long as it may still be about to answer for the first time. */
export type FindSnapshot = (discovery: Discovery) => ServiceSnapshot | undefined;

/** Where data planes look for what subsets are made by (Envoy, "Load balancer subsets"). */
const LB_METADATA = "envoy.lb";

const healths: ReadonlyMap<EndpointHealth, HealthStatus> = new Map([
  [EndpointHealth.HEALTHY, HealthStatus.HEALTHY],
  [EndpointHealth.DRAINING, HealthStatus.DRAINING],
]);

/** The endpoints found for an upstream, by the zones that they are there for; its nodes are the priorities behind them. */
export function toDiscoveredAssignment(
  clusterName: string,
  upstream: Upstream,
  discovery: Discovery,
  snapshot: ServiceSnapshot,
): ClusterLoadAssignment {
  const assignment = toLoadAssignment(clusterName, upstream);
  const chosen = choose(snapshot.endpoints, discovery);
  const scale = weightScale(chosen.map(({ endpoint }) => endpoint));
  const places = Map.groupBy(chosen, ({ endpoint, zone }) =>
    JSON.stringify([endpoint.region, zone, endpoint.subZone] satisfies Place),
  );
  const found = [...places]
    // By name, so that the same endpoints are the same bytes.
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([place, there]) =>
      locality(
        JSON.parse(place) as Place,
        there.map((each) => lbEndpoint(each, scale)),
      ),
    );
  if (found.length === 0) return assignment;
  for (const { ...fallback } of assignment.endpoints) found.push({ ...fallback, priority: fallback.priority + 1 });
  assignment.endpoints = found;
  return assignment;
}

type Place = [region: string, zone: string, subZone: string];

/** Endpoints of one place. Its weight, for data planes that share traffic among localities, is what its endpoints have together. */
function locality([region, zone, subZone]: Place, lbEndpoints: readonly LbEndpoint[]): LocalityLbEndpoints {
  const isSomewhere = region !== "" || zone !== "" || subZone !== "";
  return create(LocalityLbEndpointsSchema, {
    ...(isSomewhere && { locality: { region, zone, subZone } }),
    loadBalancingWeight: lbEndpoints.reduce((sum, { loadBalancingWeight = 1 }) => sum + loadBalancingWeight, 0),
    lbEndpoints: [...lbEndpoints],
  });
}

const weightOf = ({ weight }: Endpoint) => weight ?? 1;

/** What data planes accept as the sum of a locality's weights, and of a priority's (Envoy, endpoint_components.proto). */
const WEIGHTS_MAX = 0xffff_ffff;

/** What all weights are multiplied by, so that their sum is one that data planes accept; nearly always 1. */
function weightScale(endpoints: readonly Endpoint[]): number {
  const sum = endpoints.reduce((total, endpoint) => total + weightOf(endpoint), 0);
  // None becomes less than 1, which adds up to one for each at most.
  return sum <= WEIGHTS_MAX ? 1 : (WEIGHTS_MAX - endpoints.length) / sum;
}

function lbEndpoint({ endpoint, port }: Chosen, scale: number): LbEndpoint {
  const { address, hostname, health, metadata } = endpoint;
  const socketAddress = { address, portSpecifier: { case: "portValue", value: port } } as const;
  const value = { hostname, address: { address: { case: "socketAddress", value: socketAddress } } } as const;
  return create(LbEndpointSchema, {
    hostIdentifier: { case: "endpoint", value },
    healthStatus: healths.get(health) ?? HealthStatus.UNKNOWN,
    loadBalancingWeight: Math.max(1, Math.floor(weightOf(endpoint) * scale)),
    ...(Object.keys(metadata).length > 0 && { metadata: { filterMetadata: { [LB_METADATA]: { ...metadata } } } }),
  });
}
