import { xxHash64 } from "../../route/hash.ts";
import type { Endpoint } from "../cluster.ts";
import type { MakeBalancer } from "./balancer.ts";

const MASK_64_BITS = 0xffff_ffff_ffff_ffffn;

/**
 * Consistent hashing by a table (Envoy MaglevTable; Eisenbud et al., "Maglev", NSDI 2016, listing 1): endpoints take turns, as often as they
 * weigh, in claiming the next free entry of their own permutation of the table, so that each has its share of it almost exactly. A hash
 * goes to its entry modulo the table's size, which is a prime.
 */
export const maglev =
  (tableSize: number): MakeBalancer =>
  (endpoints, weightOf) => {
    const table = buildTable(endpoints, weightOf, tableSize);
    const size = BigInt(tableSize);
    return {
      pick(hash, attempt) {
        if (endpoints.length === 0) return undefined;
        if (hash === undefined) return endpoints[table[Math.floor(Math.random() * tableSize)] as number];
        // Another draw for the same request goes somewhere else, as in Envoy (MaglevTable::chooseHost).
        const drawn = attempt === 0 ? hash : hash ^ (MASK_64_BITS - BigInt(attempt) + 1n);
        return endpoints[table[Number(drawn % size)] as number];
      },
    };
  };

/** By entry: the place of the endpoint that owns it. */
function buildTable(
  endpoints: readonly Endpoint[],
  weightOf: (endpoint: Endpoint) => number,
  tableSize: number,
): Uint32Array {
  const table = new Uint32Array(tableSize);
  if (endpoints.length === 0) return table;
  const taken = new Uint8Array(tableSize);
  const greatest = endpoints.reduce((most, endpoint) => Math.max(most, weightOf(endpoint)), 0);
  const claims = endpoints.map((endpoint) => ({
    at: Number(xxHash64(endpoint.hashKey) % BigInt(tableSize)),
    skip: Number(xxHash64(endpoint.hashKey, 1n) % BigInt(tableSize - 1)) + 1,
    weight: weightOf(endpoint),
    target: 0,
  }));
  let filled = 0;
  for (let turn = 1; filled < tableSize; turn++) {
    for (const [owner, claim] of claims.entries()) {
      if (filled === tableSize) break;
      // One that weighs a third of the greatest has its turn every third time.
      if (turn * claim.weight < claim.target) continue;
      claim.target += greatest;
      while (taken[claim.at] === 1) claim.at = (claim.at + claim.skip) % tableSize;
      taken[claim.at] = 1;
      table[claim.at] = owner;
      filled++;
    }
  }
  return table;
}
