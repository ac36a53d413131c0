import { xxHash64 } from "../../route/hash.ts";
import type { Endpoint } from "../cluster.ts";
import type { MakeBalancer } from "./balancer.ts";

/** RingHashLbConfig: sizes in entries. */
export interface RingOptions {
  readonly minimumRingSize: number;
  readonly maximumRingSize: number;
}

const LOW_32_BITS = 0xffff_ffffn;

/**
 * Consistent hashing (Envoy RingHashLoadBalancer::Ring): each endpoint has entries on a ring, as many as it weighs, at the hashes of
 * "address:port_0", "address:port_1", … (or its metadata's hash_key); a request goes to the first entry at or after its hash. When an endpoint leaves, its
 * own requests move, and few others (as many as the ring needs new entries to keep its least size). Without a hash any entry will do.
 */
export const ringHash =
  (options: RingOptions): MakeBalancer =>
  (endpoints, weightOf) => {
    const ring = buildRing(endpoints, weightOf, options);
    return {
      pick(hash, attempt) {
        if (ring.length === 0) return undefined;
        const at =
          hash === undefined
            ? Math.floor(Math.random() * ring.length)
            : firstAtOrAfter(ring, Number(hash >> 32n), Number(hash & LOW_32_BITS));
        return endpoints[ring.owner[(at + attempt) % ring.length] as number];
      },
    };
  };

/** Entries in order of hash. Halves of hashes, because reading a BigUint64Array makes an object each time. */
interface Ring {
  readonly length: number;
  readonly high: Uint32Array;
  readonly low: Uint32Array;
  readonly owner: Uint32Array;
}

function buildRing(
  endpoints: readonly Endpoint[],
  weightOf: (endpoint: Endpoint) => number,
  { minimumRingSize, maximumRingSize }: RingOptions,
): Ring {
  const sum = endpoints.reduce((total, endpoint) => total + weightOf(endpoint), 0);
  const shares = endpoints.map((endpoint) => weightOf(endpoint) / sum);
  const least = shares.reduce((a, b) => Math.min(a, b), 1);
  // Such that the endpoint that weighs least has a whole number of entries, and the ring the smallest size allowed at least.
  const scale = Math.min(Math.ceil(least * minimumRingSize) / least, maximumRingSize);
  const entries: { readonly hash: bigint; readonly owner: number }[] = [];
  let target = 0;
  endpoints.forEach((endpoint, owner) => {
    target += scale * (shares[owner] as number);
    for (let i = 0; entries.length < target; i++) entries.push({ hash: xxHash64(`${endpoint.hashKey}_${i}`), owner });
  });
  entries.sort((a, b) => (a.hash < b.hash ? -1 : a.hash > b.hash ? 1 : 0));
  return {
    length: entries.length,
    high: Uint32Array.from(entries, ({ hash }) => Number(hash >> 32n)),
    low: Uint32Array.from(entries, ({ hash }) => Number(hash & LOW_32_BITS)),
    owner: Uint32Array.from(entries, ({ owner }) => owner),
  };
}

/** The first entry whose hash is not below; after the last comes the first. */
function firstAtOrAfter(ring: Ring, high: number, low: number): number {
  let from = 0;
  let to = ring.length;
  while (from < to) {
    const middle = (from + to) >>> 1;
    const there = ring.high[middle] as number;
    if (there < high || (there === high && (ring.low[middle] as number) < low)) from = middle + 1;
    else to = middle;
  }
  return from === ring.length ? 0 : from;
}
