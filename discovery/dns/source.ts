import { Resolver } from "node:dns";

import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";

import { type ServiceKey, type ServiceSnapshot, ServiceSnapshotSchema } from "#sluice/discovery/v1/snapshot_pb.ts";

import { sleep } from "../backoff.ts";
import { DiscoveryError, type ListedService, type RegistryIdentity, type Source } from "../source.ts";
import { type DnsServer, parseServer, query } from "./query.ts";
import { ServerOrder } from "./server-order.ts";
import { type Ask, type KnownKinds, resolveAddresses, resolveServices } from "./resolve.ts";

/** A record that expires at once must not make a busy loop, and one that lives for days is looked at again. */
const TTL_MS_MIN = 1_000;
const TTL_MS_MAX = 300_000;
/** Nothing is asked for again sooner: a zone that lost its names for a moment often says that they are gone for hours. */
const NEGATIVE_TTL_MS_MAX = 30_000;
/** The machine's name servers are read anew so often: a DHCP lease or a VPN may bring others. */
const SERVERS_MS = 10_000;

/** Of a server that lives: NOERROR, NXDOMAIN, REFUSED (RFC 1035, 4.1.1). */
const livingCodes: ReadonlySet<number> = new Set([0, 3, 5]);

/** DNS as a registry: A and AAAA records, or SRV records where the name is _service._proto.name; asked again when they expire. */
export class DnsSource implements Source {
  readonly #resolvers: readonly DnsServer[];
  readonly #order = new ServerOrder();
  #system: { readonly servers: readonly DnsServer[]; readonly untilMs: number } = { servers: [], untilMs: 0 };

  /** @param resolvers "IP" or "IP:PORT"; the machine's if there are none. Search domains are never added to names. */
  constructor(resolvers: readonly string[]) {
    this.#resolvers = resolvers.map(parseServer);
  }

  async *watch(service: ServiceKey, signal: AbortSignal): AsyncGenerator<ServiceSnapshot> {
    const name = service.service;
    const isSrv = /^_[^.]+\._[^.]+\./.test(name);
    const ask: Ask = (asked, type) => query(this.#servers(), this.#order, asked, type, signal);
    let known = new Map<string, KnownKinds>();
    while (!signal.aborted) {
      const before = known;
      const now = new Map<string, KnownKinds>();
      const knownOf = (target: string) => {
        const kinds = before.get(target) ?? new Set();
        now.set(target, kinds);
        return kinds;
      };
      const { endpoints, ttlS, exists } = isSrv
        ? await servicesOf(ask, name, knownOf)
        : await addressesOf(ask, name, knownOf(name));
      known = now;
      yield create(ServiceSnapshotSchema, {
        ...{ service, endpoints: [...endpoints], unknownService: !exists },
        observeTime: timestampFromMs(Date.now()),
        // Each answer stands for itself: a name that is gone may be a zone that was loaded in part.
        discontinuous: endpoints.length === 0,
      });
      const ttlMsMax = endpoints.length === 0 ? NEGATIVE_TTL_MS_MAX : TTL_MS_MAX;
      await sleep(Math.min(ttlMsMax, Math.max(TTL_MS_MIN, ttlS * 1000)), signal);
    }
  }

  async list(): Promise<readonly ListedService[]> {
    throw new DiscoveryError("bad_settings", "DNS can't list what it has: name the service");
  }

  /** Any answer will do: that there is no such name is one, and that the server is not there for it. */
  async probe(signal: AbortSignal): Promise<RegistryIdentity> {
    const isAnswer = (code: number) => livingCodes.has(code);
    await query(this.#servers(), this.#order, "localhost", "A", signal, isAnswer);
    return { clusterIdentity: "", version: "DNS" };
  }

  async close(): Promise<void> {}

  #servers(): readonly DnsServer[] {
    if (this.#resolvers.length > 0) return this.#resolvers;
    const nowMs = performance.now();
    if (nowMs >= this.#system.untilMs) {
      this.#system = { servers: new Resolver().getServers().map(parseServer), untilMs: nowMs + SERVERS_MS };
    }
    return this.#system.servers;
  }
}

async function addressesOf(ask: Ask, name: string, known: KnownKinds) {
  const { addresses, ttlS, exists } = await resolveAddresses(ask, name, known);
  return { endpoints: addresses.map((address) => ({ address, hostname: name })), ttlS, exists };
}

async function servicesOf(ask: Ask, name: string, knownOf: (target: string) => KnownKinds) {
  const { services, ttlS, exists } = await resolveServices(ask, name, knownOf);
  return { endpoints: services, ttlS, exists };
}
