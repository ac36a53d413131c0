import type { Service } from "#sluice/model/v1/service_pb.ts";

import { compareText } from "./order.ts";
import { quoted } from "./problem.ts";
import { patternKey, type RouteEntry, routeEntries } from "./route-entries.ts";
import { EVERY_HOST, hostsOf } from "./service-hosts.ts";

/** A route that can't be told from one of another service. */
export interface Ambiguity {
  /** The route's place in its service. */
  readonly position: number;
  readonly message: string;
}

/** What a service takes on each of its hosts. */
interface Claim {
  readonly service: Service;
  readonly entry: RouteEntry;
  /** Equal for what takes the same requests of a host. */
  readonly key: string;
}

type Found = Map<Service, Map<string, Ambiguity>>;

/**
 * Of services that share a host with one that was written: stored services are never changed in place, and most writes leave most of them
 * alone. Those that have their hosts for themselves are not looked at again, so that nothing is kept of them.
 */
const claimsByService = new WeakMap<Service, readonly Claim[]>();

/**
 * Finds routes of written services that take the very requests that a route of another service takes: one host, path, method and
 * priority, and vars that are absent or written alike. Only the services' names would decide between them, which nobody means. Within a
 * service the order of its routes decides (shadow.ts).
 * @param written services of one gateway group
 * @param servicesOn the services of the group on a host as they would be after the write, the written ones too
 * @returns what was found, by service; of two written services the later has it
 */
export function ambiguousRoutes(
  written: readonly Service[],
  servicesOn: (host: string) => Iterable<Service>,
): ReadonlyMap<Service, readonly Ambiguity[]> {
  const found: Found = new Map();
  const claims = new Map<string, Map<string, Claim>>();
  const hosts = new Set<string>();
  for (const service of written) {
    const ownHosts = hostsOf(service);
    for (const host of ownHosts) hosts.add(host);
    for (const claim of claimsByService.get(service) ?? claimsOf(service)) {
      const byHost = claims.get(claim.key) ?? new Map<string, Claim>();
      claims.set(claim.key, byHost);
      for (const host of ownHosts) {
        const first = byHost.get(host);
        if (first === undefined) byHost.set(host, claim);
        else if (first.service !== service) note(found, claim, first, host);
      }
    }
  }
  const own = new Set(written);
  const others = new Set<Service>();
  for (const host of hosts) for (const service of servicesOn(host)) if (!own.has(service)) others.add(service);
  for (const service of [...others].sort((a, b) => compareText(a.name, b.name))) {
    const shared = hostsOf(service).filter((host) => hosts.has(host));
    for (const claim of rememberedClaimsOf(service)) {
      const byHost = claims.get(claim.key);
      for (const host of byHost === undefined ? [] : shared) {
        const first = byHost?.get(host);
        if (first !== undefined) note(found, first, claim, host);
      }
    }
  }
  return new Map([...found].map(([service, ofService]) => [service, [...ofService.values()]]));
}

const claimsOf = (service: Service): readonly Claim[] =>
  routeEntries(service).flatMap((entry): Claim[] => {
    const { rank, route, vars } = entry;
    const path = patternKey(rank.pattern);
    const methods = route.methods.length === 0 ? [""] : route.methods;
    return methods.map((method) => ({ service, entry, key: JSON.stringify([path, rank.priority, vars, method]) }));
  });

function rememberedClaimsOf(service: Service): readonly Claim[] {
  const claims = claimsByService.get(service) ?? claimsOf(service);
  claimsByService.set(service, claims);
  return claims;
}

/** Notes a pair of routes once, on however many hosts and paths they meet. */
function note(found: Found, own: Claim, other: Claim, host: string): void {
  const ofService = found.get(own.service) ?? new Map<string, Ambiguity>();
  found.set(own.service, ofService);
  const { route, rank } = own.entry;
  const pair = `${rank.position} ${other.service.name} ${other.entry.rank.position}`;
  if (ofService.has(pair)) return;
  const where = host === EVERY_HOST ? "every host" : `host ${quoted(host)}`;
  const same = `route ${quoted(other.entry.route.name)} of service ${quoted(other.service.name)}`;
  const message =
    `route ${quoted(route.name)} takes the same requests as ${same} (${where}, equal path, methods, vars and priority); ` +
    "tell them apart by one of these, or give one a higher priority";
  ofService.set(pair, { position: rank.position, message });
}
