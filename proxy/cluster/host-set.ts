import type { Balancer, MakeBalancer } from "./balance/balancer.ts";
import { Schedule } from "./balance/schedule.ts";
import type { LiveEndpoint } from "./endpoint.ts";

/** Endpoints near to each other, with the weight of their locality; 0: none. */
export interface LocalityHosts {
  readonly weight: number;
  readonly endpoints: readonly LiveEndpoint[];
}

/** Which of a priority's endpoints may be chosen: those in health, the degraded ones, or, in panic, all. */
export type HostKind = "healthy" | "degraded" | "all";

/** How endpoints are balanced within a priority. */
export interface HostSetOptions {
  readonly make: MakeBalancer;
  /** Whether localities share traffic by their weights (LocalityWeightedLbConfig); otherwise they are one pool. */
  readonly localityWeighted: boolean;
  /** Whether each endpoint's weight can carry its locality's: true where the balancer hashes (Envoy normalizeHostWeights). */
  readonly hashing: boolean;
  /** Percent. */
  readonly overprovisioningFactor: number;
}

const inKind = (kind: HostKind) => (endpoint: LiveEndpoint) => kind === "all" || endpoint.health === kind;

const weightOf = (endpoint: { weight: number }) => endpoint.weight;

/** The endpoints of one priority. Immutable; balancers are made when first asked for, since most are never needed. */
export class HostSet {
  readonly total: number;
  readonly healthy: number;
  readonly degraded: number;
  readonly #localities: readonly LocalityHosts[];
  readonly #options: HostSetOptions;
  readonly #balancers = new Map<HostKind, Balancer>();

  constructor(localities: readonly LocalityHosts[], options: HostSetOptions) {
    this.#localities = localities;
    this.#options = options;
    const all = localities.flatMap(({ endpoints }) => endpoints);
    this.total = all.length;
    this.healthy = all.filter(({ health }) => health === "healthy").length;
    this.degraded = all.filter(({ health }) => health === "degraded").length;
  }

  /** The balancer over endpoints of a kind. */
  balancer(kind: HostKind): Balancer {
    let balancer = this.#balancers.get(kind);
    if (balancer === undefined) {
      balancer = this.#make(kind);
      this.#balancers.set(kind, balancer);
    }
    return balancer;
  }

  #make(kind: HostKind): Balancer {
    const { make, localityWeighted, hashing } = this.#options;
    const wanted = inKind(kind);
    if (!localityWeighted) {
      return make(
        this.#localities.flatMap(({ endpoints }) => endpoints.filter(wanted)),
        weightOf,
      );
    }
    const localities = this.#localities
      .map((locality) => ({
        weight: this.#effectiveWeight(locality, kind),
        endpoints: locality.endpoints.filter(wanted),
      }))
      .filter(({ weight, endpoints }) => weight > 0 && endpoints.length > 0);
    if (hashing) return make(...withLocalityWeights(localities));
    const schedule = new Schedule(
      localities.map(({ endpoints }) => make(endpoints, weightOf)),
      localities.map(({ weight }) => weight),
      Math.random(),
    );
    return { pick: (hash, attempt) => schedule.next()?.pick(hash, attempt) };
  }

  /** A locality's weight, less when too few of its endpoints are left (Envoy effectiveLocalityWeight); a whole number. */
  #effectiveWeight({ weight, endpoints }: LocalityHosts, kind: HostKind): number {
    const eligible = endpoints.filter(inKind(kind)).length;
    if (eligible === 0) return 0;
    const percent = Math.floor((this.#options.overprovisioningFactor * eligible) / endpoints.length);
    return weight * Math.min(100, percent);
  }
}

/** All endpoints, each with its share of its locality's weight. */
function withLocalityWeights(localities: readonly LocalityHosts[]): Parameters<MakeBalancer> {
  const weights = new Map<object, number>();
  for (const { weight, endpoints } of localities) {
    const sum = endpoints.reduce((total, endpoint) => total + endpoint.weight, 0);
    for (const endpoint of endpoints) weights.set(endpoint, (weight * endpoint.weight) / sum);
  }
  return [localities.flatMap(({ endpoints }) => endpoints), (endpoint) => weights.get(endpoint) ?? 1];
}
