import { lookup, Resolver } from "node:dns/promises";
import { isIP } from "node:net";

import type { AssignedEndpoint, Assignment, AssignedLocality } from "./assignment.ts";
import type { DnsOptions } from "./compile.ts";
import { TIMEOUT_MS_MAX } from "../listen/timers.ts";

/** A time to live of 0, or of a moment, must not become a busy loop. */
const TTL_MS_MIN = 1_000;

/** The longest that one query may take, in ms and tries; then the last good answer goes on. */
const QUERY_TIMEOUT_MS = 5_000;
const QUERY_TRIES = 2;

interface Answer {
  readonly addresses: readonly string[];
  /** Undefined: the resolver does not tell. */
  readonly ttlMs: number | undefined;
}

/**
 * Keeps the names of a DNS cluster resolved. Each name is asked for again `refreshMs` after its last answer; one that fails keeps the
 * addresses it had. Nothing is assigned before every name was answered or failed once.
 */
export class DnsWatch {
  readonly #assignment: Assignment;
  readonly #options: DnsOptions;
  readonly #assign: (assignment: Assignment) => void;
  readonly #timers = new Set<NodeJS.Timeout>();
  /** By name. Empty while a name that was asked for had no good answer yet. */
  readonly #known = new Map<string, readonly string[]>();
  readonly #resolver = new Resolver({ timeout: QUERY_TIMEOUT_MS, tries: QUERY_TRIES });
  readonly #answered = Promise.withResolvers<void>();
  #pending: number;
  #stopped = false;
  /** Answers and failures so far. */
  answers = 0;

  /** Begins to resolve at once. `assign` gets the endpoints whenever they change. */
  constructor(assignment: Assignment, options: DnsOptions, assign: (assignment: Assignment) => void) {
    this.#assignment = assignment;
    this.#options = options;
    this.#assign = assign;
    const names = new Set<string>();
    for (const { endpoints } of assignment.localities) {
      for (const { address } of endpoints) if (isIP(address) === 0) names.add(address);
    }
    this.#pending = names.size;
    if (names.size === 0) this.#publish();
    for (const name of names) void this.#refresh(name);
  }

  /** When every name was answered or failed once, or it was stopped. */
  get answered(): Promise<void> {
    return this.#answered.promise;
  }

  /** Ends it; nothing is assigned any more. */
  stop(): void {
    this.#stopped = true;
    this.#answered.resolve();
    this.#resolver.cancel();
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
  }

  async #refresh(name: string): Promise<void> {
    const { refreshMs, respectTtl } = this.#options;
    const before = this.#known.get(name);
    let againMs = refreshMs;
    try {
      const answer = await this.#resolve(name);
      this.#known.set(name, this.#options.firstOnly ? answer.addresses : answer.addresses.toSorted());
      if (respectTtl && answer.ttlMs !== undefined) againMs = Math.max(TTL_MS_MIN, answer.ttlMs);
    } catch {
      // The last good answer stays: a name server that is down for a while must take nothing else down.
      this.#known.set(name, before ?? []);
    }
    if (this.#stopped) return;
    this.answers++;
    if (before === undefined) this.#pending--;
    const now = this.#known.get(name) ?? [];
    const changed = before === undefined || before.join() !== now.join();
    if (changed && this.#pending === 0) this.#publish();
    const again = () => {
      this.#timers.delete(timer);
      void this.#refresh(name);
    };
    const timer = setTimeout(again, Math.min(TIMEOUT_MS_MAX, againMs));
    timer.unref();
    this.#timers.add(timer);
  }

  async #resolve(name: string): Promise<Answer> {
    if (this.#options.respectTtl) {
      try {
        return await this.#query(name);
      } catch {
        // Names of the hosts file and of search domains are known to getaddrinfo only.
      }
    }
    const found = await lookup(name, { all: true, verbatim: true });
    const v4 = found.filter(({ family }) => family === 4).map(({ address }) => address);
    const v6 = found.filter(({ family }) => family === 6).map(({ address }) => address);
    return { addresses: this.#choose(v4, v6, name), ttlMs: undefined };
  }

  /** Asks the name server itself, which is the only way to learn the time to live. */
  async #query(name: string): Promise<Answer> {
    const { family } = this.#options;
    const settle = async (wanted: boolean, query: () => Promise<{ address: string; ttl: number }[]>) =>
      wanted ? await query().catch(() => []) : [];
    const [v4, v6] = await Promise.all([
      settle(family !== "v6-only", () => this.#resolver.resolve4(name, { ttl: true })),
      settle(family !== "v4-only", () => this.#resolver.resolve6(name, { ttl: true })),
    ]);
    const addresses = this.#choose(
      v4.map(({ address }) => address),
      v6.map(({ address }) => address),
      name,
    );
    return { addresses, ttlMs: Math.min(...[...v4, ...v6].map(({ ttl }) => ttl)) * 1000 };
  }

  /** The addresses of the family asked for (Cluster.dns_lookup_family). */
  #choose(v4: readonly string[], v6: readonly string[], name: string): readonly string[] {
    const chosen = {
      auto: v6.length > 0 ? v6 : v4,
      "v4-preferred": v4.length > 0 ? v4 : v6,
      "v4-only": v4,
      "v6-only": v6,
      all: [...v6, ...v4],
    }[this.#options.family];
    if (chosen.length === 0) throw new Error(`${name} has no address of the family that is asked for`);
    return chosen;
  }

  /** The endpoints that a name stands for; of LOGICAL_DNS one, which knows the others as further addresses, as in Envoy. */
  #resolved(named: AssignedEndpoint, addresses: readonly string[]): AssignedEndpoint[] {
    const endpoint = { ...named, hostname: named.hostname || named.address };
    if (!this.#options.firstOnly) return addresses.map((address) => ({ ...endpoint, address }));
    const [address, ...additionalAddresses] = addresses;
    return address === undefined ? [] : [{ ...endpoint, address, additionalAddresses }];
  }

  #publish(): void {
    this.#answered.resolve();
    const localities = this.#assignment.localities.map(
      (locality): AssignedLocality => ({
        ...locality,
        endpoints: locality.endpoints.flatMap((endpoint) =>
          isIP(endpoint.address) === 0 ? this.#resolved(endpoint, this.#known.get(endpoint.address) ?? []) : [endpoint],
        ),
      }),
    );
    this.#assign({ ...this.#assignment, localities });
  }
}
