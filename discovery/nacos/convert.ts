import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";

import {
  type Endpoint,
  EndpointHealth,
  EndpointSchema,
  type ServiceKey,
  type ServiceSnapshot,
  ServiceSnapshotSchema,
} from "#sluice/discovery/v1/snapshot_pb.ts";

import { type Addresses, isHostName } from "../host-names.ts";
import { DiscoveryError, ENDPOINTS_MAX, keyText } from "../source.ts";

/** What is read of an instance; all versions call these fields the same. */
export interface NacosInstance {
  readonly ip?: string;
  readonly port?: number;
  readonly weight?: number;
  readonly healthy?: boolean;
  readonly enabled?: boolean;
  readonly ephemeral?: boolean;
  readonly clusterName?: string;
  readonly metadata?: Readonly<Record<string, unknown>> | null;
}

/** What is read of a service's instances, as pushes and lists have them. */
export interface NacosServiceInfo {
  readonly name?: string;
  readonly groupName?: string;
  readonly hosts?: readonly NacosInstance[] | null;
  /** When the server made it, in ms of its own clock. */
  readonly lastRefTime?: number;
  readonly checksum?: string;
  /** Too few instances are healthy, so that the server says of all that they are (protection threshold). */
  readonly reachProtectionThreshold?: boolean;
}

/** Weights have two digits after the point in Nacos' console; ours are whole numbers. 1 is Nacos' default and becomes this. */
const WEIGHT_SCALE = 100;
/** Nacos takes weights up to 10,000. */
const WEIGHT_MAX = 10_000 * WEIGHT_SCALE;
const PORT_MAX = 65_535;

/** When and how an answer came. */
export interface NacosArrival {
  readonly observedAtMs: number;
  readonly discontinuous?: boolean;
  /** Of the instances that are registered by a host name. */
  readonly addresses?: Addresses;
}

/** Instances may be registered by a host name, which Nacos doesn't look up. */
export const hostNamesOf = ({ hosts }: NacosServiceInfo): string[] => [
  ...new Set((hosts ?? []).map(({ ip = "" }) => ip).filter(isHostName)),
];

/**
 * The snapshot of a service. Instances that are not enabled take no part. Those with weight 0 stay, without traffic; unhealthy ones stay
 * marked as such, except below the protection threshold, when the server itself calls them all healthy. A host name stands for each of
 * its addresses.
 * @throws {DiscoveryError} bad_answer, when there are too many instances or one is nowhere
 */
export function toSnapshot(key: ServiceKey, info: NacosServiceInfo, arrival: NacosArrival): ServiceSnapshot {
  const { observedAtMs, discontinuous = false, addresses = new Map() } = arrival;
  const clusters = new Set(key.cluster.split(",").filter((name) => name !== ""));
  const hosts = (info.hosts ?? []).filter(
    ({ enabled = true, clusterName = "DEFAULT" }) => enabled && (clusters.size === 0 || clusters.has(clusterName)),
  );
  if (hosts.length > ENDPOINTS_MAX) {
    throw new DiscoveryError("bad_answer", `${keyText(key)}: more than ${ENDPOINTS_MAX} instances`);
  }
  return create(ServiceSnapshotSchema, {
    service: key,
    endpoints: hosts.flatMap((host) => toEndpoints(key, host, addresses)).sort(byAddress),
    revision: info.checksum || (info.lastRefTime ? String(info.lastRefTime) : ""),
    observeTime: timestampFromMs(observedAtMs),
    discontinuous,
  });
}

function toEndpoints(key: ServiceKey, host: NacosInstance, addresses: Addresses): Endpoint[] {
  const { ip = "", port = -1 } = host;
  if (ip === "" || !Number.isInteger(port) || port < 0 || port > PORT_MAX) {
    throw new DiscoveryError("bad_answer", `${keyText(key)}: an instance is at ${ip || "nothing"}, port ${host.port}`);
  }
  if (!isHostName(ip)) return [toEndpoint(host, ip, "")];
  return (addresses.get(ip) ?? []).map((address) => toEndpoint(host, address, ip));
}

function toEndpoint(host: NacosInstance, address: string, hostname: string): Endpoint {
  const { port = 0, weight = 1, healthy = true, ephemeral, clusterName } = host;
  const metadata: Record<string, string> = {};
  for (const [name, value] of Object.entries(host.metadata ?? {})) {
    if (typeof value === "string") metadata[name] = value;
  }
  return create(EndpointSchema, {
    ...{ address, hostname, port, weight: toWeight(weight) },
    health: healthy ? EndpointHealth.HEALTHY : EndpointHealth.UNHEALTHY,
    // There is no field for it; registries' users keep it in the metadata, under the names that Spring Cloud and Dubbo use.
    region: metadata["region"] ?? "",
    zone: metadata["zone"] ?? "",
    metadata: {
      ...metadata,
      ...(clusterName ? { "nacos.cluster": clusterName } : {}),
      ...(ephemeral === undefined ? {} : { "nacos.ephemeral": String(ephemeral) }),
    },
  });
}

/** No weight that is more than nothing becomes nothing. */
const toWeight = (weight: number) =>
  weight > 0 ? Math.min(WEIGHT_MAX, Math.max(1, Math.round(weight * WEIGHT_SCALE))) : 0;

const byAddress = (a: Endpoint, b: Endpoint) =>
  a.address < b.address ? -1 : a.address > b.address ? 1 : a.port - b.port;
