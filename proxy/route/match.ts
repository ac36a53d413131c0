import type { RequestHead } from "../request.ts";
import type { Domains } from "./domains.ts";
import type { HeadTest } from "./matchers.ts";
import type { PathMatch } from "./path.ts";
import { PathIndex } from "./path-index.ts";
import type { Route, RouteTable } from "./route.ts";
import { httpsRedirect, type TlsRequirement } from "./tls-requirement.ts";
import { asciiLower, pathOnly } from "./text.ts";

/** What a route asks of a request besides its path. */
export interface Conditions {
  readonly tests: readonly HeadTest[];
  /** The share of requests that the route considers, 0 to 1 (runtime_fraction). */
  readonly fraction: number;
}

interface Candidate {
  readonly route: Route;
  readonly conditions: Conditions;
}

/** The routes of one virtual host. */
export interface HostRoutes {
  /** The first route of the list that takes the request. */
  match(head: RequestHead): Route | undefined;
}

/** The routes of one virtual host, indexed by path. Filled in list order, then only read. */
export class VirtualHostRoutes implements HostRoutes {
  readonly #bySensitive = new PathIndex<Candidate>();
  // Undefined while no route ignores case, which is the rule, so that no path is lower-cased for nothing.
  #byInsensitive: PathIndex<Candidate> | undefined;
  #forConnect: Candidate[] | undefined;
  #length = 0;

  // The request that is being matched; see PathIndex for why it is here.
  #head: RequestHead | undefined;
  #random = -1;
  readonly #needsTls: TlsRequirement | undefined;

  /** `needsTls`: which requests are sent to https before any route is looked at. */
  constructor(needsTls?: TlsRequirement) {
    this.#needsTls = needsTls;
  }

  /** Adds the next route of the list. */
  add(path: PathMatch, conditions: Conditions, route: Route): void {
    const position = this.#length++;
    if (path.ignoreCase) this.#byInsensitive ??= new PathIndex();
    const index = path.ignoreCase && this.#byInsensitive ? this.#byInsensitive : this.#bySensitive;
    for (const pattern of path.patterns) index.add(pattern, position, { route, conditions });
  }

  /** Adds the next route of the list, one with a connect_matcher. */
  addConnect(conditions: Conditions, route: Route): void {
    this.#length++;
    (this.#forConnect ??= []).push({ route, conditions });
  }

  match(head: RequestHead): Route | undefined {
    if (this.#needsTls?.(head) === true) return httpsRedirect;
    this.#head = head;
    this.#random = -1;
    // A CONNECT is the one request without a path, and no path matcher's.
    if (head.path === "") return this.#forConnect?.find(this.#accepts)?.route;
    const path = pathOnly(head.path);
    const first = this.#bySensitive.find(path, this.#accepts, Number.POSITIVE_INFINITY);
    if (this.#byInsensitive === undefined) return first?.value.route;
    const below = first?.position ?? Number.POSITIVE_INFINITY;
    const earlier = this.#byInsensitive.find(asciiLower(path), this.#accepts, below);
    return (earlier ?? first)?.value.route;
  }

  readonly #accepts = ({ conditions }: Candidate): boolean => {
    if (conditions.fraction < 1) {
      // One draw for all of a request's routes, as Envoy passes one random value along (RouteEntryImplBase::evaluateRuntimeMatch).
      if (this.#random < 0) this.#random = Math.random();
      if (this.#random >= conditions.fraction) return false;
    }
    for (const test of conditions.tests) {
      if (!test(this.#head as RequestHead)) return false;
    }
    return true;
  };
}

/** A RouteConfiguration made ready for matching: host, then path, then everything else. */
export class CompiledRouteTable implements RouteTable {
  readonly name: string;
  /** Names of all clusters that routes can send to. */
  readonly clusters: ReadonlySet<string>;
  readonly internalOnlyHeaders: readonly string[] | undefined;
  readonly #domains: Domains<HostRoutes>;

  constructor(
    name: string,
    domains: Domains<HostRoutes>,
    clusters: ReadonlySet<string>,
    internalOnlyHeaders: readonly string[] = [],
  ) {
    this.internalOnlyHeaders = internalOnlyHeaders.length === 0 ? undefined : internalOnlyHeaders;
    this.name = name;
    this.#domains = domains;
    this.clusters = clusters;
  }

  match(head: RequestHead): Route | undefined {
    return this.#domains.find(head.authority)?.match(head);
  }

  /** What a domain belongs to, as it is written. */
  ownerOf(domain: string): HostRoutes | undefined {
    return this.#domains.get(domain);
  }

  /** Has a domain belong to other routes, or to none (live-table.ts). */
  assign(domain: string, routes: HostRoutes | undefined): void {
    this.#domains.set(domain, routes);
  }
}
