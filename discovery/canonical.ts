import { create, fromBinary, toBinary } from "@bufbuild/protobuf";

import {
  type Endpoint,
  EndpointHealth,
  type ServiceSnapshot,
  ServiceSnapshotSchema,
} from "#sluice/discovery/v1/snapshot_pb.ts";

import { DiscoveryError, ENDPOINTS_MAX } from "./source.ts";

/**
 * A snapshot in the one form that all orders of the same endpoints have. It is kept as bytes, since most are looked at once in a while
 * only, and a hundred thousand endpoints take ten times the memory as objects.
 */
export class Canonical {
  /** What data planes could see of it, encoded: neither revision nor times. */
  readonly content: Uint8Array;
  /** The rest of it, encoded; the two one after the other are a whole ServiceSnapshot (protobuf encoding guide, "Last One Wins"). */
  readonly #head: Uint8Array;
  readonly clusterIdentity: string;
  /** As in ServiceSnapshot. */
  readonly discontinuous: boolean;
  readonly unknownService: boolean;
  readonly endpointCount: number;
  /** How many of them requests could be sent to. */
  readonly usableCount: number;

  constructor(snapshot: ServiceSnapshot) {
    const { service, endpoints, unknownService, ...head } = snapshot;
    const said = { ...(service !== undefined && { service }), endpoints, unknownService };
    this.content = toBinary(ServiceSnapshotSchema, create(ServiceSnapshotSchema, said));
    this.#head = toBinary(ServiceSnapshotSchema, { ...head, endpoints: [], unknownService: false });
    this.clusterIdentity = snapshot.clusterIdentity;
    this.discontinuous = snapshot.discontinuous;
    this.unknownService = unknownService;
    this.endpointCount = endpoints.length;
    this.usableCount = endpoints.filter(isUsable).length;
  }

  /** The whole of it, made anew for each call. */
  decode(): ServiceSnapshot {
    return fromBinary(ServiceSnapshotSchema, this.encode());
  }

  /** The whole of it without what `content` is: when and in which revision it was said. */
  decodeHead(): ServiceSnapshot {
    return fromBinary(ServiceSnapshotSchema, this.#head);
  }

  /** The bytes of the whole of it. */
  encode(): Uint8Array {
    return Buffer.concat([this.#head, this.content]);
  }

  /** Whether data planes would see no difference. */
  isSameAs(other: Canonical): boolean {
    return Buffer.compare(this.content, other.content) === 0;
  }
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
  return new Canonical({ ...snapshot, endpoints });
}

/** Whether requests could be sent to it. A draining endpoint answers, so it counts. */
const isUsable = ({ health, weight }: Endpoint): boolean => health !== EndpointHealth.UNHEALTHY && weight !== 0;

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
