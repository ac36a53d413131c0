/** From names to addresses and services: aliases, both kinds of address, and the order of SRV records. */
import { DiscoveryError } from "../source.ts";
import type { DnsAnswer, DnsRecord, QueryType } from "./message.ts";

/** Asks one question. @throws DiscoveryError */
export type Ask = (name: string, type: QueryType) => Promise<DnsAnswer>;

/** Addresses of a name, and for how long that holds. */
export interface Found {
  readonly addresses: readonly string[];
  readonly ttlS: number;
  /** Whether there is such a name, with addresses or without. */
  readonly exists: boolean;
}

/** A server of an SRV record. */
export interface FoundService {
  readonly address: string;
  readonly hostname: string;
  readonly port: number;
  readonly weight: number;
}

/** For "there is none" without a time of its own. */
const NEGATIVE_TTL_S = 30;
/** Aliases of aliases. */
const ALIASES_MAX = 8;
const TARGETS_MAX = 1_000;
/** Targets that are looked up at once: each takes two sockets. */
const LOOKUPS_MAX = 16;

/** Kinds of addresses that a name had before: what is missing of these is missed. */
export type KnownKinds = Set<QueryType>;

/**
 * All addresses of a name. Some servers answer nothing good to questions for IPv6 addresses (RFC 4074): as long as there never were any,
 * those for IPv4 do. One kind that fails later is a failure, so that no half is taken for the whole.
 * @param known remembers what there was; one for each name
 */
export async function resolveAddresses(ask: Ask, name: string, known: KnownKinds): Promise<Found> {
  const outcomes = await Promise.allSettled([follow(ask, name, "A"), follow(ask, name, "AAAA")]);
  const types: readonly QueryType[] = ["A", "AAAA"];
  const found = outcomes.flatMap((outcome, at) => {
    if (outcome.status === "fulfilled") return [{ ...outcome.value, type: types[at] ?? "A" }];
    const other = outcomes[1 - at];
    const isSpare = at === 1 && !known.has("AAAA") && other?.status === "fulfilled" && other.value.addresses.length > 0;
    if (isSpare) return [];
    throw outcome.reason;
  });
  for (const { type, addresses } of found) {
    if (addresses.length > 0) known.add(type);
    else known.delete(type);
  }
  const withAddresses = found.filter(({ addresses }) => addresses.length > 0);
  return {
    addresses: found.flatMap(({ addresses }) => addresses),
    // What is there expires first; what isn't there, after the time that the zone gives for that.
    ttlS: Math.min(...(withAddresses.length > 0 ? withAddresses : found).map(({ ttlS }) => ttlS)),
    exists: found.some(({ exists }) => exists),
  };
}

/**
 * The servers of a service: those of the lowest priority number that have addresses (RFC 2782). Without weights all are alike; among
 * others, one with weight 0 gets next to nothing.
 * @param knownOf what is remembered of a target
 */
export async function resolveServices(
  ask: Ask,
  name: string,
  knownOf: (target: string) => KnownKinds,
): Promise<{ services: readonly FoundService[]; ttlS: number; exists: boolean }> {
  const answer = await ask(name, "SRV");
  const { records, owner } = chain(answer, name);
  // The target "." says that there is decidedly none.
  const all = records.filter((record) => record.type === "srv" && record.name === owner && record.target !== "");
  const targets = all.filter((record) => record.type === "srv");
  if (targets.length > TARGETS_MAX) {
    throw new DiscoveryError("bad_answer", `DNS: ${name} has more than ${TARGETS_MAX} targets`);
  }
  let ttlS = targets.length > 0 ? leastTtl(records) : negativeTtl(answer);
  const byPriority = Map.groupBy(targets, ({ priority }) => priority);
  for (const [, group] of [...byPriority].sort(([a], [b]) => a - b)) {
    const isWeighted = group.some(({ weight }) => weight > 0);
    const found = await atMost(LOOKUPS_MAX, group, async ({ target, port, weight }) => {
      const { addresses, ttlS: ofTarget } = await resolveAddresses(ask, target, knownOf(target));
      ttlS = Math.min(ttlS, ofTarget);
      const share = isWeighted ? Math.max(1, weight) : 1;
      return addresses.map((address) => ({ address, hostname: target, port, weight: share }));
    });
    const services = found.flat();
    if (services.length > 0) return { services, ttlS, exists: true };
  }
  return { services: [], ttlS, exists: answer.code === 0 };
}

/** Asks, and asks for what an alias stands for where the server didn't say that as well (RFC 1034, 5.2.2). */
async function follow(ask: Ask, name: string, type: QueryType): Promise<Found> {
  let ttlS = Number.POSITIVE_INFINITY;
  let asked = name;
  for (let hops = 0; hops <= ALIASES_MAX; hops++) {
    const answer = await ask(asked, type);
    const { records, owner } = chain(answer, asked);
    const addresses = records.flatMap((record) =>
      record.type === "address" && record.name === owner ? [record.address] : [],
    );
    const isAlias = owner !== lower(asked);
    if (isAlias || addresses.length > 0) ttlS = Math.min(ttlS, leastTtl(records));
    if (addresses.length > 0) return { addresses, ttlS, exists: true };
    // A server that gives the time for which there is nothing has followed the alias to its end.
    if (!isAlias || answer.code !== 0 || answer.negativeTtlS !== undefined) {
      return { addresses: [], ttlS: Math.min(ttlS, negativeTtl(answer)), exists: answer.code === 0 };
    }
    asked = owner;
  }
  throw new DiscoveryError("bad_answer", `DNS: ${name} is an alias of an alias, more than ${ALIASES_MAX} times`);
}

/** The records that belong to a name: its aliases one after the other, and what the last of them has. */
function chain({ answers }: DnsAnswer, name: string): { records: readonly DnsRecord[]; owner: string } {
  const aliases = new Map(
    answers.flatMap((record) => (record.type === "alias" ? [[record.name, record] as const] : [])),
  );
  const records: DnsRecord[] = [];
  let owner = lower(name);
  for (let alias = aliases.get(owner); alias !== undefined; alias = aliases.get(owner)) {
    // A circle ends here: what follows has no addresses.
    aliases.delete(owner);
    records.push(alias);
    owner = lower(alias.target);
  }
  return {
    records: [...records, ...answers.filter((record) => record.type !== "alias" && record.name === owner)],
    owner,
  };
}

const lower = (name: string) => name.toLowerCase().replace(/\.$/, "");

const leastTtl = (records: readonly DnsRecord[]) => Math.min(...records.map(({ ttlS }) => ttlS));

const negativeTtl = ({ negativeTtlS }: DnsAnswer) => negativeTtlS ?? NEGATIVE_TTL_S;

/** All results in order, so many under way at once. */
async function atMost<Item, Result>(
  count: number,
  items: readonly Item[],
  work: (item: Item) => Promise<Result>,
): Promise<Result[]> {
  const results: Result[] = [];
  let next = 0;
  const run = async () => {
    for (let at = next++; at < items.length; at = next++) results[at] = await work(items[at] as Item);
  };
  await Promise.all(Array.from({ length: Math.min(count, items.length) }, run));
  return results;
}
