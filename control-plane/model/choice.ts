import { type Endpoint, EndpointHealth } from "#sluice/discovery/v1/snapshot_pb.ts";
import type { Discovery } from "#sluice/model/v1/upstream_pb.ts";

/** An endpoint that an upstream sends to. */
export interface Chosen {
  readonly endpoint: Endpoint;
  /** The one of its ports that the upstream means. */
  readonly port: number;
  /** The zone that it is there for: by its hints, or where it is. */
  readonly zone: string;
}

/**
 * The endpoints of a service that an upstream sends to. What the registry calls unhealthy is left out rather than marked: of a cluster that is
 * mostly unhealthy, data planes would use everything ("panic").
 */
export function choose(endpoints: readonly Endpoint[], discovery: Discovery): Chosen[] {
  const { zones } = discovery;
  const fitting = endpoints.filter((endpoint) => takesRequests(endpoint) && fits(endpoint, discovery));
  const heeded = hintsCount(fitting);
  return fitting.flatMap((endpoint) => {
    const port = portOf(endpoint, discovery);
    const zone = zoneOf(endpoint, zones, heeded);
    return port === undefined || (zones.length > 0 && !zones.includes(zone)) ? [] : [{ endpoint, port, zone }];
  });
}

/** Whether an upstream takes all endpoints that take requests and have a port: it names no tag, metadata, zone or port. */
export const takesAll = ({ tags, metadata, zones, portSpecifier }: Discovery): boolean =>
  tags.length === 0 && zones.length === 0 && portSpecifier.case === undefined && Object.keys(metadata).length === 0;

/** Whether requests could be sent to it. A draining endpoint answers, so it counts. */
export const takesRequests = ({ health, weight }: Endpoint): boolean =>
  health !== EndpointHealth.UNHEALTHY && weight !== 0;

/** The port of an endpoint that an upstream means; undefined if it has none such. */
function portOf({ port, ports }: Endpoint, { portSpecifier }: Discovery): number | undefined {
  const chosen = portSpecifier.case === "portName" ? ports[portSpecifier.value] : (portSpecifier.value ?? port);
  return chosen === undefined || chosen === 0 ? undefined : chosen;
}

/** By everything but health, weight and zone. */
function fits(endpoint: Endpoint, discovery: Discovery): boolean {
  const { tags, metadata } = discovery;
  if (portOf(endpoint, discovery) === undefined) return false;
  if (!tags.every((tag) => endpoint.tags.includes(tag))) return false;
  return Object.entries(metadata).every(([name, value]) => endpoint.metadata[name] === value);
}

/**
 * Whether hints are heeded: Kubernetes' own proxies do only where every endpoint that takes requests has one, since a part of them would
 * leave some zones with next to nothing (KEP-2433, "Kube-Proxy").
 */
function hintsCount(endpoints: readonly Endpoint[]): boolean {
  const ready = endpoints.filter(({ health }) => health !== EndpointHealth.DRAINING);
  return ready.length > 0 && ready.every(({ forZones }) => forZones.length > 0);
}

/** The zone that an endpoint is there for: by its hints, of several the wanted one or its own; without, where it is. */
function zoneOf({ zone, forZones }: Endpoint, wanted: readonly string[], heeded: boolean): string {
  if (!heeded || forZones.length === 0) return zone;
  const among = forZones.filter((each) => wanted.length === 0 || wanted.includes(each));
  return among.includes(zone) ? zone : (among[0] ?? forZones[0] ?? zone);
}
