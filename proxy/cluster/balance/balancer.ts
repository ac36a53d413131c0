import type { Endpoint } from "../cluster.ts";

/** Chooses among a fixed set of endpoints; a new set gets a new balancer. */
export interface Balancer {
  /**
   * `hash` decides in consistent hashing and is ignored elsewhere. `attempt` counts the draws for one request, from 0: where the hash
   * decides, another draw must not end at the same endpoint again. Undefined: the set is empty.
   */
  pick(hash: bigint | undefined, attempt: number): Endpoint | undefined;
}

/** Makes a balancer for some endpoints. `weightOf` is above 0 and need not be a whole number in consistent hashing. */
export type MakeBalancer = (endpoints: readonly Endpoint[], weightOf: (endpoint: Endpoint) => number) => Balancer;

/** Whether all endpoints weigh the same, so that weights say nothing. */
export function weighSame(endpoints: readonly Endpoint[], weightOf: (endpoint: Endpoint) => number): boolean {
  const [first] = endpoints;
  return first === undefined || endpoints.every((endpoint) => weightOf(endpoint) === weightOf(first));
}
