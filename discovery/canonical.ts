import { create, toBinary } from "@bufbuild/protobuf";

import {
  type Endpoint,
  EndpointHealth,
  type ServiceSnapshot,
  ServiceSnapshotSchema,
} from "#sluice/discovery/v1/snapshot_pb.ts";

import { DiscoveryError, ENDPOINTS_MAX } from "./source.ts";

/** A snapshot in the one form that all orders of the same endpoints have, and its content as bytes for comparing. */
export interface Canonical {
  readonly snapshot: ServiceSnapshot;
  /** What data planes could see of it: neither revision nor times. */
  readonly content: Uint8Array;
}

/**
 * Sorts endpoints by address and port, and keeps the first of those with the same.
 * @throws DiscoveryError "bad_answer" if there are too many
 */
export function canonical(snapshot: ServiceSnapshot): Canonical {
  if (snapshot.endpoints.length > ENDPOINTS_MAX) {
    throw new DiscoveryError(
      "bad_answer",
      `the service has ${snapshot.endpoints.length} endpoints; at most ${ENDPOINTS_MAX} are taken`,
    );
  }
  const first = new Map<string, Endpoint>();
  for (const endpoint of snapshot.endpoints) {
    const key = `${endpoint.address} ${endpoint.port}`;
    if (!first.has(key)) first.set(key, normal(endpoint));
  }
  const endpoints = [...first].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, endpoint]) => endpoint);
  const { service, unknownService } = snapshot;
  const content = toBinary(
    ServiceSnapshotSchema,
    create(ServiceSnapshotSchema, { ...(service !== undefined && { service }), endpoints, unknownService }),
  );
  return { snapshot: { ...snapshot, endpoints }, content };
}

/** Whether requests could be sent to it. A draining endpoint answers, so it counts. */
export const isUsable = ({ health, weight }: Endpoint): boolean => health !== EndpointHealth.UNHEALTHY && weight !== 0;

/** The same endpoint with its maps and sets in order. */
function normal(endpoint: Endpoint): Endpoint {
  const { metadata, ports, tags, forZones } = endpoint;
  return {
    ...endpoint,
    metadata: sortedRecord(metadata),
    ports: sortedRecord(ports),
    tags: [...tags].sort(),
    forZones: [...forZones].sort(),
  };
}

const sortedRecord = <Value>(record: Record<string, Value>): Record<string, Value> => {
  const entries = Object.entries(record);
  return entries.length < 2 ? record : Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
};
