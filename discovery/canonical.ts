import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";

import {
  type Endpoint,
  EndpointHealth,
  type ServiceSnapshot,
  ServiceSnapshotSchema,
} from "#sluice/discovery/v1/snapshot_pb.ts";

import { DiscoveryError, ENDPOINTS_MAX } from "./source.ts";

/** When and how something was said; data planes see nothing of it. */
type Head = Pick<ServiceSnapshot, "revision" | "clusterIdentity" | "discontinuous" | "hidden"> & {
  /** Milliseconds since 1970. */
  readonly observedMs: number | undefined;
};

/**
 * A snapshot in the one form that all orders of the same endpoints have. What data planes could see of it is kept as bytes, since most are
 * looked at once in a while only, and a hundred thousand endpoints take ten times the memory as objects.
 */
export class Canonical {
  /**
   * What data planes could see of it, encoded: neither revision nor times. A byte for each character (latin1): a short array of bytes takes as
   * much again for what is around it.
   */
  readonly #content: string;
  readonly #head: Head;
  readonly unknownService: boolean;
  readonly endpointCount: number;
  /** How many of them requests could be sent to. */
  readonly usableCount: number;
  /** How many of those have a port. */
  readonly usableWithPortCount: number;

  private constructor(content: string, head: Head, counts: Counts) {
    this.#content = content;
    this.#head = head;
    this.unknownService = counts.unknownService;
    this.endpointCount = counts.endpointCount;
    this.usableCount = counts.usableCount;
    this.usableWithPortCount = counts.usableWithPortCount;
  }

  /** @param snapshot in its one form */
  static of(snapshot: ServiceSnapshot): Canonical {
    const { service, endpoints, unknownService, observeTime } = snapshot;
    const { revision, clusterIdentity, discontinuous, hidden } = snapshot;
    const said = { ...(service !== undefined && { service }), endpoints, unknownService };
    const content = toLatin1(toBinary(ServiceSnapshotSchema, create(ServiceSnapshotSchema, said)));
    const observedMs = observeTime && timestampMs(observeTime);
    const usable = endpoints.filter(isUsable);
    return new Canonical(
      content,
      { revision, clusterIdentity, discontinuous, hidden, observedMs },
      {
        unknownService,
        endpointCount: endpoints.length,
        usableCount: usable.length,
        usableWithPortCount: usable.filter(({ port }) => port !== 0).length,
      },
    );
  }

  /** What data planes could see of it, encoded: neither revision nor times. Made anew for each call. */
  get content(): Uint8Array {
    return Buffer.from(this.#content, "latin1");
  }

  get clusterIdentity(): string {
    return this.#head.clusterIdentity;
  }

  /** As in ServiceSnapshot. */
  get discontinuous(): boolean {
    return this.#head.discontinuous;
  }

  /** As in ServiceSnapshot. */
  get hidden(): string {
    return this.#head.hidden;
  }

  /** The whole of it, made anew for each call. */
  decode(): ServiceSnapshot {
    return Object.assign(fromBinary(ServiceSnapshotSchema, this.content), this.#headFields());
  }

  /** The whole of it without what `content` is: when and in which revision it was said. */
  decodeHead(): ServiceSnapshot {
    return create(ServiceSnapshotSchema, this.#headFields());
  }

  /** The bytes of the whole of it, in two parts: one after the other they are a ServiceSnapshot (protobuf encoding guide, "Last One Wins"). */
  encode(): readonly [Uint8Array, Uint8Array] {
    return [toBinary(ServiceSnapshotSchema, this.decodeHead()), this.content];
  }

  /** Whether data planes would see no difference. */
  isSameAs(other: Canonical): boolean {
    return this.#content === other.#content;
  }

  /** The same as `newer`, which data planes can't tell from this one, with the bytes that are here already. */
  saidAgain(newer: Canonical): Canonical {
    return new Canonical(this.#content, newer.#head, newer);
  }

  #headFields() {
    const { observedMs, ...head } = this.#head;
    return { ...head, ...(observedMs !== undefined && { observeTime: timestampFromMs(observedMs) }) };
  }
}

const toLatin1 = ({ buffer, byteOffset, byteLength }: Uint8Array): string =>
  Buffer.from(buffer, byteOffset, byteLength).toString("latin1");

interface Counts {
  readonly unknownService: boolean;
  readonly endpointCount: number;
  readonly usableCount: number;
  readonly usableWithPortCount: number;
}

/**
 * Sorts endpoints by address and port, and keeps the best of those with the same: an instance that came back under another name is there twice
 * until its registry forgets the old name, which is unhealthy meanwhile.
 * @throws DiscoveryError "bad_answer" if there are too many
 */
export function canonical(snapshot: ServiceSnapshot): Canonical {
  if (snapshot.endpoints.length > ENDPOINTS_MAX) {
    throw new DiscoveryError(
      "bad_answer",
      `the service has ${snapshot.endpoints.length} endpoints; at most ${ENDPOINTS_MAX} are taken`,
    );
  }
  const best = new Map<string, Endpoint>();
  for (const endpoint of snapshot.endpoints) {
    const key = `${endpoint.address} ${endpoint.port}`;
    const known = best.get(key);
    if (known === undefined || rankOf(endpoint) > rankOf(known)) best.set(key, endpoint);
  }
  const endpoints = [...best].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, endpoint]) => normal(endpoint));
  return Canonical.of({ ...snapshot, endpoints });
}

/** Whether requests could be sent to it. A draining endpoint answers, so it counts. */
const isUsable = ({ health, weight }: Endpoint): boolean => health !== EndpointHealth.UNHEALTHY && weight !== 0;

/** The higher, the better: takes all requests, those of old sessions, or none. */
const rankOf = (endpoint: Endpoint): number =>
  isUsable(endpoint) ? (endpoint.health === EndpointHealth.DRAINING ? 1 : 2) : 0;

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
