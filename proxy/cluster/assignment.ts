import { isIP } from "node:net";

import type { Address } from "#envoy/config/core/v3/address_pb.ts";
import { SocketAddress_Protocol as Protocol } from "#envoy/config/core/v3/address_pb.ts";
import { HealthStatus } from "#envoy/config/core/v3/health_check_pb.ts";
import type { LbEndpoint } from "#envoy/config/endpoint/v3/endpoint_components_pb.ts";
import type { ClusterLoadAssignment } from "#envoy/config/endpoint/v3/endpoint_pb.ts";

import type { Compiled, Place } from "../compile.ts";
import { balancingMetadata, type Labels, transportLabels } from "./endpoint-metadata.ts";

/** One endpoint as a ClusterLoadAssignment says it. */
export interface AssignedEndpoint {
  /** An IP address; in DNS clusters a name. */
  readonly address: string;
  readonly port: number;
  readonly hostname: string;
  /** Further IP addresses, in order of preference. */
  readonly additionalAddresses: readonly string[];
  /** Of its metadata: what decides on its transport socket. */
  readonly labels: Labels;
  /** Of its metadata: what consistent hashing knows it by; "": its address and port. */
  readonly hashKey: string;
  /** Of its metadata: whether it is a canary. */
  readonly canary: boolean;
  /** At least 1. */
  readonly weight: number;
  readonly health: "healthy" | "degraded" | "unhealthy";
}

/** A LocalityLbEndpoints: endpoints near to each other, of one priority. */
export interface AssignedLocality {
  readonly priority: number;
  /** 0: not set; where localities are weighted such a locality gets nothing. */
  readonly weight: number;
  /** Of its metadata: what decides on its endpoints' transport sockets where their own labels don't. */
  readonly labels: Labels;
  readonly endpoints: readonly AssignedEndpoint[];
}

/** Which endpoints a cluster has now. */
export interface Assignment {
  /** Percent: how much more than its share the healthy rest of a priority or locality may take. Default 140. */
  readonly overprovisioningFactor: number;
  readonly localities: readonly AssignedLocality[];
}

/** No endpoint at all. */
export const NO_ENDPOINTS: Assignment = { overprovisioningFactor: 140, localities: [] };

const PRIORITY_MAX = 128;

// What each status means for balancing (proxy-parity 2.7).
const healths: Readonly<Record<HealthStatus, AssignedEndpoint["health"]>> = {
  [HealthStatus.UNKNOWN]: "healthy",
  [HealthStatus.HEALTHY]: "healthy",
  [HealthStatus.DEGRADED]: "degraded",
  [HealthStatus.UNHEALTHY]: "unhealthy",
  [HealthStatus.DRAINING]: "unhealthy",
  [HealthStatus.TIMEOUT]: "unhealthy",
};

/** Compiles a ClusterLoadAssignment; `names` tells whether addresses may be DNS names, which only DNS clusters resolve. */
export function compileAssignment(message: ClusterLoadAssignment, names: boolean, place: Place): Compiled<Assignment> {
  const localities = message.endpoints.map((locality, index): AssignedLocality => {
    const at = place.item("endpoints", index);
    if (locality.priority > PRIORITY_MAX) at.field("priority").refuse(`must not be greater than ${PRIORITY_MAX}`);
    return {
      priority: locality.priority,
      weight: locality.loadBalancingWeight ?? 0,
      labels: transportLabels(locality.metadata),
      endpoints: locality.lbEndpoints.flatMap((endpoint, n) => {
        const compiled = compileEndpoint(endpoint, names, at.item("lb_endpoints", n));
        return compiled === undefined ? [] : [compiled];
      }),
    };
  });
  const priorities = new Set(localities.map(({ priority }) => priority));
  for (let priority = 0; priority < priorities.size; priority++) {
    if (priorities.has(priority)) continue;
    place.field("endpoints").refuse(`priorities must start at 0 and leave no gap; ${priority} is missing`);
    break;
  }
  const overprovisioningFactor = message.policy?.overprovisioningFactor ?? 140;
  if (overprovisioningFactor === 0) {
    place.field("policy").field("overprovisioning_factor").refuse("must be greater than 0");
  }
  return place.result({ overprovisioningFactor, localities });
}

function compileEndpoint(message: LbEndpoint, names: boolean, place: Place): AssignedEndpoint | undefined {
  if (message.hostIdentifier.case !== "endpoint") {
    place.refuse("endpoint must be set");
    return undefined;
  }
  const { address, hostname, additionalAddresses: further } = message.hostIdentifier.value;
  const at = place.field("endpoint");
  const socket = compileSocketAddress(address, names, at.field("address"));
  const additionalAddresses = further.flatMap((additional, n) => {
    const there = at.item("additional_addresses", n).field("address");
    const found = compileSocketAddress(additional.address, false, there);
    if (found !== undefined && found.port !== socket?.port)
      there.refuse("must have the port of the endpoint's address");
    return found === undefined ? [] : [found.address];
  });
  const weight = message.loadBalancingWeight ?? 1;
  if (weight === 0) place.field("load_balancing_weight").refuse("must be at least 1");
  const health = healths[message.healthStatus];
  if (health === undefined) place.field("health_status").refuse("unknown value");
  if (socket === undefined) return undefined;
  const labels = transportLabels(message.metadata);
  const { hashKey, canary } = balancingMetadata(message.metadata);
  const more = { additionalAddresses, labels, hashKey, canary };
  return { ...socket, ...more, hostname, weight, health: health ?? "healthy" };
}

/** A TCP address with a port. Undefined: a problem was reported. */
export function compileSocketAddress(
  address: Address | undefined,
  names: boolean,
  place: Place,
): { readonly address: string; readonly port: number } | undefined {
  if (address?.address.case !== "socketAddress") {
    place.refuse("only socket_address is supported");
    return undefined;
  }
  const socket = address.address.value;
  const at = place.field("socket_address");
  if (socket.protocol !== Protocol.TCP) at.field("protocol").refuse("only TCP is supported");
  if (socket.address === "" || (!names && isIP(socket.address) === 0)) {
    at.field("address").refuse(`${JSON.stringify(socket.address)} is not an IP address`);
    return undefined;
  }
  if (socket.portSpecifier.case !== "portValue" || socket.portSpecifier.value > 65_535) {
    at.field("port_value").refuse("must be set, and at most 65535");
    return undefined;
  }
  return { address: socket.address, port: socket.portSpecifier.value };
}
