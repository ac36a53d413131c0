import { getServers } from "node:dns";

import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";

import {
  type EndpointSchema,
  type ServiceKey,
  type ServiceSnapshot,
  ServiceSnapshotSchema,
} from "#sluice/discovery/v1/snapshot_pb.ts";

import { sleep } from "../backoff.ts";
import { DiscoveryError, type ListedService, type RegistryIdentity, type Source } from "../source.ts";
import type { DnsAnswer, QueryType } from "./message.ts";
import { type DnsServer, parseServer, query } from "./query.ts";

/** A record that expires at once must not make a busy loop, and one that lives for days is looked at again. */
const TTL_MS_MIN = 1_000;
const TTL_MS_MAX = 300_000;
/** For "there is none" without a time of its own. */
const NEGATIVE_TTL_S = 30;
const TARGETS_MAX = 1_000;

interface Found {
  readonly endpoints: readonly MessageInitShape<typeof EndpointSchema>[];
  readonly ttlS: number;
  readonly exists: boolean;
}

/** DNS as a registry: A and AAAA records, or SRV records where the name is _service._proto.name; asked again when they expire. */
export class DnsSource implements Source {
  readonly #servers: readonly DnsServer[];

  /** @param resolvers "IP" or "IP:PORT"; the machine's if there are none. Search domains are never added to names. */
  constructor(resolvers: readonly string[]) {
    this.#servers = (resolvers.length > 0 ? resolvers : getServers()).map(parseServer);
  }

  async *watch(service: ServiceKey, signal: AbortSignal): AsyncGenerator<ServiceSnapshot> {
    const isSrv = /^_[^.]+\._[^.]+\./.test(service.service);
    while (!signal.aborted) {
      const { endpoints, ttlS, exists } = await (isSrv
        ? this.#services(service.service, signal)
        : this.#addresses(service.service, signal));
      yield create(ServiceSnapshotSchema, {
        ...{ service, endpoints: [...endpoints], unknownService: !exists },
        observeTime: timestampFromMs(Date.now()),
      });
      await sleep(Math.min(TTL_MS_MAX, Math.max(TTL_MS_MIN, ttlS * 1000)), signal);
    }
  }

  async list(): Promise<readonly ListedService[]> {
    throw new DiscoveryError("bad_settings", "DNS can't list what it has: name the service");
  }

  /** Any answer will do; the root has name servers everywhere, and its absence is an answer too. */
  async probe(signal: AbortSignal): Promise<RegistryIdentity> {
    await query(this.#servers, "localhost", "A", signal).catch((error: unknown) => {
      if (!(error instanceof DiscoveryError && error.kind === "permission_denied")) throw error;
    });
    return { clusterIdentity: "", version: "DNS" };
  }

  async close(): Promise<void> {}

  async #addresses(name: string, signal: AbortSignal): Promise<Found> {
    const types: readonly QueryType[] = ["A", "AAAA"];
    const answers = await Promise.all(types.map((type) => query(this.#servers, name, type, signal)));
    const endpoints = answers.flatMap((answer) => addressesOf(answer).map((address) => ({ address, hostname: name })));
    return { endpoints, ttlS: ttlOf(answers, endpoints.length), exists: answers.some(({ code }) => code === 0) };
  }

  /** Of several priorities the lowest number is used (RFC 2782): the others are for when it is not available. */
  async #services(name: string, signal: AbortSignal): Promise<Found> {
    const answer = await query(this.#servers, name, "SRV", signal);
    const all = answer.answers.filter((record) => record.type === "srv").filter(({ target }) => target !== "");
    if (all.length > TARGETS_MAX)
      throw new DiscoveryError("bad_answer", `DNS: ${name} has more than ${TARGETS_MAX} targets`);
    const lowest = Math.min(...all.map(({ priority }) => priority));
    const used = all.filter(({ priority }) => priority === lowest);
    // Without weights all are alike; among others, one with weight 0 gets next to nothing.
    const isWeighted = used.some(({ weight }) => weight > 0);
    const found = await Promise.all(
      used.map(async ({ target, port, weight }) => {
        const { endpoints, ttlS } = await this.#addresses(target, signal);
        const share = isWeighted ? Math.max(1, weight) : 1;
        return { endpoints: endpoints.map((endpoint) => ({ ...endpoint, port, weight: share })), ttlS };
      }),
    );
    const ttlS = Math.min(ttlOf([answer], used.length), ...found.map((each) => each.ttlS));
    return { endpoints: found.flatMap(({ endpoints }) => endpoints), ttlS, exists: answer.code === 0 };
  }
}

const addressesOf = ({ answers }: DnsAnswer): string[] =>
  answers.flatMap((record) => (record.type === "address" ? [record.address] : []));

/** When to ask again: what is there expires first; what isn't there, after the time that the zone gives for that. */
function ttlOf(answers: readonly DnsAnswer[], found: number): number {
  const ttls = answers.flatMap((answer) => answer.answers.map(({ ttlS }) => ttlS));
  if (found > 0) return Math.min(...ttls);
  return Math.min(...answers.map(({ negativeTtlS }) => negativeTtlS ?? NEGATIVE_TTL_S));
}
