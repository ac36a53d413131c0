/** Which virtual host a host belongs to, as Envoy picks it: for those who ask for virtual hosts by host (O1). */
import { fromBinary } from "@bufbuild/protobuf";

import { VirtualHostSchema } from "#envoy/config/route/v3/route_components_pb.ts";
import { routeConfigurationOf } from "#proto/resource-types.ts";

import type { CachedResource, ResourceSet } from "./resource.ts";
import { bodyOf } from "./wire.ts";

/** Read once of each virtual host, whichever sets it is in. */
const domainsRead = new WeakMap<CachedResource, readonly string[]>();

function domainsOf(host: CachedResource): readonly string[] {
  let domains = domainsRead.get(host);
  if (domains === undefined) {
    domains = fromBinary(VirtualHostSchema, bodyOf(host)).domains.map((domain) => domain.toLowerCase());
    domainsRead.set(host, domains);
  }
  return domains;
}

/** The virtual hosts of a gateway group by their domains. It never changes: other domains make another one. */
export class HostIndex {
  readonly #byDomain = new Map<string, string>();
  /** How long what stands behind, or before, a "*" is in any domain; the longest first. */
  readonly #suffixLengths: readonly number[];
  readonly #prefixLengths: readonly number[];

  constructor(set: ResourceSet) {
    const [suffixes, prefixes] = [new Set<number>(), new Set<number>()];
    for (const host of set.values()) {
      const routes = routeConfigurationOf(host.name);
      if (routes === undefined) continue;
      for (const domain of domainsOf(host)) {
        this.#byDomain.set(`${routes}/${domain}`, host.name);
        if (domain.startsWith("*")) suffixes.add(domain.length - 1);
        else if (domain.endsWith("*")) prefixes.add(domain.length - 1);
      }
    }
    const longestFirst = (lengths: Iterable<number>) => [...lengths].sort((a, b) => b - a);
    this.#suffixLengths = longestFirst(suffixes);
    this.#prefixLengths = longestFirst(prefixes);
  }

  equals(other: HostIndex): boolean {
    if (this.#byDomain.size !== other.#byDomain.size) return false;
    for (const [domain, name] of this.#byDomain) if (other.#byDomain.get(domain) !== name) return false;
    return true;
  }

  /** The virtual host that a name stands for which is none itself, ROUTE_CONFIGURATION/HOST with or without a port; undefined if there is none. */
  find(name: string): string | undefined {
    const routes = routeConfigurationOf(name);
    if (routes === undefined) return undefined;
    const host = name.slice(routes.length + 1).toLowerCase();
    if (host === "" || host.length > HOST_LENGTH_MAX) return undefined;
    // Route configurations say `ignore_port_in_host_matching`.
    return this.#find(routes, host) ?? this.#find(routes, host.replace(/:\d+$/, ""));
  }

  #find(routes: string, host: string): string | undefined {
    for (const domain of this.#candidates(host)) {
      const found = this.#byDomain.get(`${routes}/${domain}`);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /** The domains that take a host, the most specific first (VirtualHost.domains): itself, the longest suffix, the longest prefix, all. */
  *#candidates(host: string): Iterable<string> {
    yield host;
    // A "*" stands for one letter at least, where it isn't all of the domain.
    for (const length of this.#suffixLengths) {
      if (length > 0 && length < host.length) yield `*${host.slice(host.length - length)}`;
    }
    for (const length of this.#prefixLengths) if (length < host.length) yield `${host.slice(0, length)}*`;
    yield "*";
  }
}

/** Of a host (RFC 1035, 2.3.4) and a port. What is longer is none. */
const HOST_LENGTH_MAX = 260;

const indexes = new WeakMap<ResourceSet, { readonly version: string; readonly index: HostIndex }>();

/** The index of a set as it is now: the same as before, unless domains have come, gone or moved. */
export function hostIndexOf(set: ResourceSet): HostIndex {
  const { version } = set;
  const known = indexes.get(set);
  if (known?.version === version) return known.index;
  const made = new HostIndex(set);
  const index = known?.index.equals(made) === true ? known.index : made;
  indexes.set(set, { version, index });
  return index;
}
