/**
 * Virtual hosts asked for by host, as Envoy's on-demand filter does (O1): "default/a.example.com" is answered by the virtual host that takes
 * it, under that one's own name, with what was asked for among its aliases. From then on the client holds that virtual host, and is told of
 * its changes; a host that moves to another virtual host brings that one.
 */
import { type HostIndex, hostIndexOf } from "./host-index.ts";
import type { CachedResource, ResourceSet } from "./resource.ts";
import { forget, type Subscription } from "./subscription.ts";
import { withAliases } from "./wire.ts";

/** What a client has asked for by host. */
export interface AskedHosts {
  /** By the asked name: the virtual host that it was answered by. */
  readonly answered: Map<string, string>;
  /** The same by virtual host: all asked names that it stands for. */
  readonly aliases: Map<string, Set<string>>;
  /** Virtual hosts that it has for that alone, and did not ask for by their own names. */
  readonly implied: Set<string>;
  /** As of the last look. */
  index: HostIndex;
}

/**
 * Finds the virtual hosts behind names that are none themselves, and has the client told of them under their own names. To be called before
 * anything is sent: requests, and changes of any virtual host, may have changed what names stand for.
 *
 * @param set the virtual hosts that the client is served
 */
export function findHosts(sub: Subscription, set: ResourceSet): void {
  const unknown = [...sub.names].filter((name) => !set.has(name) && !(sub.asked?.aliases.has(name) ?? false));
  if (unknown.length === 0 && sub.asked === undefined) return;
  const index = hostIndexOf(set);
  const asked = (sub.asked ??= { answered: new Map(), aliases: new Map(), implied: new Set(), index });
  for (const [name, host] of asked.answered) if (!sub.names.has(name)) dropAlias(sub, asked, name, host);
  for (const name of unknown) {
    if (asked.index === index && !sub.forced.has(name) && !sub.dirty.has(name)) continue;
    const found = index.find(name);
    const before = asked.answered.get(name);
    if (before !== undefined && found !== before) forgetAlias(asked, name, before);
    if (found === undefined) continue;
    const isAsked = sub.forced.has(name);
    // What stands for it answers for it.
    for (const names of [sub.forced, sub.dirty, sub.gone, sub.missing, sub.sent]) names.delete(name);
    if (found === before && !isAsked) continue;
    asked.answered.set(name, found);
    asked.aliases.set(found, (asked.aliases.get(found) ?? new Set()).add(name));
    if (!sub.names.has(found)) asked.implied.add(found);
    sub.names.add(found);
    // What the client has in its newest version only lacks the name. Anything else goes with what changes besides: a host must leave one virtual
    // host by the time it comes to another, or Envoy refuses both; and their clusters go before.
    if (sub.sent.get(found) === set.get(found)?.version) sub.forced.add(found);
    else sub.dirty.add(found);
    // By the clock of streams (server.ts).
    sub.waitingSinceMs ??= Math.floor(performance.timeOrigin + performance.now());
  }
  asked.index = index;
}

function forgetAlias({ answered, aliases }: AskedHosts, name: string, host: string): void {
  answered.delete(name);
  aliases.get(host)?.delete(name);
}

/** The client no longer wants what it had asked for by this name. */
function dropAlias(sub: Subscription, asked: AskedHosts, name: string, host: string): void {
  forgetAlias(asked, name, host);
  if (asked.aliases.get(host)?.size !== 0 || !asked.implied.delete(host)) return;
  asked.aliases.delete(host);
  sub.names.delete(host);
  forget(sub, host);
}

/** The virtual hosts as the client gets them: with the names that it asked for them by. */
export class AliasedSet implements ResourceSet {
  readonly #set: ResourceSet;
  readonly #asked: AskedHosts;

  constructor(set: ResourceSet, asked: AskedHosts) {
    this.#set = set;
    this.#asked = asked;
  }

  get size(): number {
    return this.#set.size;
  }

  get version(): string {
    return this.#set.version;
  }

  get(name: string): CachedResource | undefined {
    const resource = this.#set.get(name);
    const aliases = this.#asked.aliases.get(name);
    if (resource === undefined || aliases === undefined || aliases.size === 0) return resource;
    return { ...resource, ...withAliases(resource, [...aliases]) };
  }

  has(name: string): boolean {
    return this.#set.has(name);
  }

  values(): Iterable<CachedResource> {
    return this.#set.values();
  }
}
