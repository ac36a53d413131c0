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

import { DiscoveryError, ENDPOINTS_MAX, keyText } from "../source.ts";

import { type Readiness, type SliceEndpoint, unpackEndpoints } from "./slice-endpoints.ts";
import type { ServiceInfo, Slice } from "./slices.ts";

/**
 * Which addresses of a dual-stack service to use. Each pod has one of either family, so using both would only count it twice.
 * `service` takes the family that the Service names first.
 */
export type IpFamily = "service" | "IPv4" | "IPv6";

/** All that is known of one service. */
export interface ServiceState {
  /** Undefined when there is no such Service. */
  readonly service: ServiceInfo | undefined;
  /** In any order. */
  readonly slices: Iterable<Slice>;
  /** The cluster's own mark, and whether what it says may not follow from what it said before. */
  readonly clusterIdentity: string;
  readonly discontinuous: boolean;
}

/** What `toSnapshot` needs to know beside the service. */
export interface SnapshotOptions {
  readonly ipFamily: IpFamily;
  /** Wall clock, in ms. */
  readonly observedAtMs: number;
}

const health: Record<Readiness, EndpointHealth> = {
  ready: EndpointHealth.HEALTHY,
  draining: EndpointHealth.DRAINING,
  not_ready: EndpointHealth.UNHEALTHY,
};
const better: Record<Readiness, number> = { ready: 2, draining: 1, not_ready: 0 };

/**
 * The snapshot of a service from all of its slices. An endpoint that is in two of them (it may be, while the controller moves it) counts
 * once, as the better of both; a dual-stack service gives one family; endpoints are in order of address and port, whatever order the
 * slices came in.
 *
 * The ports of an endpoint can be chosen by their name and, as text, by the number that the Service gives them: the number is not the
 * one that the pod listens on, and may be another one for each pod.
 * @throws {DiscoveryError} bad_settings for an ExternalName service, bad_answer when there are too many endpoints
 */
export function toSnapshot(key: ServiceKey, state: ServiceState, options: SnapshotOptions): ServiceSnapshot {
  const { service, clusterIdentity, discontinuous } = state;
  const base = {
    service: key,
    observeTime: timestampFromMs(options.observedAtMs),
    clusterIdentity,
    discontinuous,
  };
  if (service?.externalName) {
    const message = `${keyText(key)} is of type ExternalName, an alias of ${service.externalName}: use a DNS registry for it`;
    throw new DiscoveryError("bad_settings", message);
  }
  const all = [...state.slices];
  // Slices outlive their Service for a moment. Those that were made by hand without a Service do serve: kube-proxy would not, but
  // nobody makes them by accident.
  if (service === undefined && all.length === 0) {
    return create(ServiceSnapshotSchema, { ...base, unknownService: true });
  }
  const family = chooseFamily(options.ipFamily, service, all);
  const slices = all.filter((slice) => slice.family === family).sort((a, b) => order(a.name, b.name));

  const best = new Map<string, { endpoint: SliceEndpoint; ports: Ports }>();
  for (const slice of slices) {
    const ports = portsOf(slice, service);
    for (const endpoint of unpackEndpoints(slice.endpoints)) {
      const at = `${endpoint.address} ${ports.port}`;
      const known = best.get(at);
      if (known === undefined || better[endpoint.readiness] > better[known.endpoint.readiness]) {
        best.set(at, { endpoint, ports });
      }
    }
  }
  if (best.size > ENDPOINTS_MAX) {
    throw new DiscoveryError("bad_answer", `${keyText(key)}: more than ${ENDPOINTS_MAX} endpoints`);
  }
  return create(ServiceSnapshotSchema, {
    ...base,
    revision: revisionOf(slices, service),
    endpoints: [...best]
      .sort(([a], [b]) => order(a, b))
      .map(([, { endpoint, ports }]) => toEndpoint(endpoint, ports, slices[0]?.namespace ?? "")),
  });
}

const order = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);

interface Ports {
  /** The port to use when none is asked for; 0 where the cluster knows none, as of a headless service: an upstream may. */
  readonly port: number;
  readonly byName: Record<string, number>;
}

function chooseFamily(wanted: IpFamily, service: ServiceInfo | undefined, slices: readonly Slice[]): string {
  if (wanted !== "service") return wanted;
  return service?.family ?? (slices.some(({ family }) => family === "IPv4") ? "IPv4" : "IPv6");
}

/** The ports of a slice's endpoints, as far as we could connect to them (TCP). */
function portsOf(slice: Slice, service: ServiceInfo | undefined): Ports {
  // A slice names its ports as its Service does; one without a list of ports allows them all.
  const target = (name: string) => slice.ports?.find((port) => port.name === name)?.port;
  const byName: Record<string, number> = {};
  for (const { name, port } of slice.ports ?? service?.ports ?? []) if (name) byName[name] = port;
  let first = slice.ports === undefined ? service?.ports[0]?.port : slice.ports.find(({ name }) => name === "")?.port;
  for (const { name, port } of service?.ports ?? []) {
    const number = slice.ports === undefined ? port : target(name);
    if (number === undefined) continue;
    byName[String(port)] = number;
    // The Service's order is the one that people wrote; a slice has its ports in any.
    first ??= number;
  }
  return { port: first ?? slice.ports?.[0]?.port ?? 0, byName };
}

function toEndpoint(endpoint: SliceEndpoint, { port, byName }: Ports, namespace: string): Endpoint {
  return create(EndpointSchema, {
    address: endpoint.address,
    port,
    ports: byName,
    hostname: endpoint.name,
    health: health[endpoint.readiness],
    zone: endpoint.zone,
    forZones: [...endpoint.forZones],
    metadata: {
      ...(namespace ? { namespace } : {}),
      ...(endpoint.name ? { pod: endpoint.name } : {}),
      ...(endpoint.node ? { node: endpoint.node } : {}),
    },
  });
}

/** The newest version among the objects that the snapshot is made of. Versions of one cluster can be compared (KEP-5504). */
function revisionOf(slices: readonly Slice[], service: ServiceInfo | undefined): string {
  let newest = 0n;
  for (const { version } of service === undefined ? slices : [...slices, service]) {
    const number = /\/(\d+)$/.exec(version)?.[1];
    if (number !== undefined && BigInt(number) > newest) newest = BigInt(number);
  }
  return newest === 0n ? "" : String(newest);
}
