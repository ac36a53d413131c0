import type { RouteConfiguration } from "#envoy/config/route/v3/route_pb.ts";

import { type Compiled, Place } from "../compile.ts";
import type { RequestHead } from "../request.ts";
import { type CompiledVirtualHost, compileRouteTable, type RouteSettings } from "./compile.ts";
import type { CompiledRouteTable, HostRoutes } from "./match.ts";
import type { Route, RouteTable } from "./route.ts";

interface Claim {
  readonly virtualHost: string;
  readonly routes: HostRoutes;
}

/** Compiles a RouteConfiguration that came by RDS: one that says `vhds` becomes a table that virtual hosts are put into. */
export function compileRouteResource(message: RouteConfiguration): Compiled<RouteTable> {
  const place = Place.root();
  const { table, settings } = compileRouteTable({ ...message, vhds: undefined }, place);
  if (message.vhds === undefined) return place.result(table);
  const source = message.vhds.configSource?.configSourceSpecifier.case;
  if (source !== "ads" && source !== "self") place.field("vhds").field("config_source").refuse("only ads is supported");
  // Virtual hosts are judged one by one, and must be good whatever the route configuration says.
  if (message.maxDirectResponseBodySizeBytes !== undefined) {
    place.field("max_direct_response_body_size_bytes").refuse("not supported beside vhds");
  }
  return place.result(new LiveRouteTable(table, settings));
}

/**
 * The route table of a RouteConfiguration whose virtual hosts come one by one (VHDS): a change costs the virtual host that it is of. Its own
 * virtual hosts are in it from the start. Of several that claim a domain, one that came by VHDS goes before the RouteConfiguration's own
 * ("vhds derived configuration taking precedence", route.proto), and of those the one whose name sorts first, so that it doesn't depend on
 * the order in which they came.
 */
export class LiveRouteTable implements RouteTable {
  readonly name: string;
  readonly internalOnlyHeaders: readonly string[] | undefined;
  /** What virtual hosts are compiled with. */
  readonly settings: RouteSettings;
  readonly #base: CompiledRouteTable;
  readonly #virtualHosts = new Map<string, CompiledVirtualHost>();
  /** By domain, as it is written in lower case; in order of their names. */
  readonly #claims = new Map<string, Claim[]>();

  /** The RouteConfiguration's own virtual hosts whose domains have been claimed. */
  readonly #overridden = new Map<string, HostRoutes>();

  constructor(base: CompiledRouteTable, settings: RouteSettings) {
    this.name = base.name;
    this.internalOnlyHeaders = base.internalOnlyHeaders;
    this.settings = settings;
    this.#base = base;
  }

  match(head: RequestHead): Route | undefined {
    return this.#base.match(head);
  }

  /** Puts a virtual host in place of the one of its name. */
  put(virtualHost: CompiledVirtualHost): void {
    const { name, routes } = virtualHost;
    const before = this.#virtualHosts.get(name);
    this.#virtualHosts.set(name, virtualHost);
    for (const domain of virtualHost.domains) {
      const claims = (this.#claims.get(domain) ?? []).filter((claim) => claim.virtualHost !== name);
      claims.push({ virtualHost: name, routes });
      claims.sort((a, b) => (a.virtualHost < b.virtualHost ? -1 : 1));
      this.#claim(domain, claims);
    }
    // After what it has now, so that no domain is nobody's in between.
    for (const domain of before?.domains ?? []) {
      if (!virtualHost.domains.includes(domain)) this.#unclaim(domain, name);
    }
  }

  /** Takes a virtual host away; one that is not there is no error. */
  remove(name: string): void {
    for (const domain of this.#virtualHosts.get(name)?.domains ?? []) this.#unclaim(domain, name);
    this.#virtualHosts.delete(name);
  }

  #unclaim(domain: string, virtualHost: string): void {
    this.#claim(
      domain,
      (this.#claims.get(domain) ?? []).filter((claim) => claim.virtualHost !== virtualHost),
    );
  }

  #claim(domain: string, claims: Claim[]): void {
    const [first] = claims;
    const own = this.#claims.has(domain) ? undefined : this.#base.ownerOf(domain);
    if (own !== undefined) this.#overridden.set(domain, own);
    if (first === undefined) this.#claims.delete(domain);
    else this.#claims.set(domain, claims);
    this.#base.assign(domain, first?.routes ?? this.#overridden.get(domain));
  }
}
