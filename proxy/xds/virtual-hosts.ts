import { routeConfigurationOf } from "#proto/resource-types.ts";

import type { Node } from "./resource.ts";

/** Whether a route configuration takes its virtual hosts by VHDS. */
export const takesVirtualHosts = (node: Node | undefined): boolean => (node?.references.virtualHosts.length ?? 0) > 0;

/** What the decision about virtual hosts is made of. */
export interface VirtualHostView {
  /** The latest state; undefined: it is gone. */
  readonly received: (name: string) => Node | undefined;
  /** The state in use. */
  readonly active: (name: string) => Node | undefined;
  /** Whether all that a virtual host names is in use. */
  readonly isWhole: (node: Node) => boolean;
  /** Whether one that can't be taken over shall wait on. */
  readonly patient: (name: string) => boolean;
}

/**
 * Which of the virtual hosts that have changed may be taken into use, or away. Each is looked at by itself: one that waits for a cluster holds
 * back no other, but for those whose domains move to it, which would be nobody's meanwhile.
 */
export function readyHosts(
  changed: readonly string[],
  { received, active, isWhole, patient }: VirtualHostView,
): string[] {
  const ready: string[] = [];
  const awaited = new Set<string>();
  for (const name of changed) {
    const node = received(name);
    if (node === undefined || isWhole(node) || !patient(name)) ready.push(name);
    else for (const domain of domainsOf(node)) awaited.add(domain);
  }
  if (awaited.size === 0) return ready;
  return ready.filter((name) => {
    const kept = domainsOf(received(name));
    const hands = domainsOf(active(name)).some((domain) => awaited.has(domain) && !kept.includes(domain));
    return !hands || !patient(name);
  });
}

/** The domains of a virtual host, each with the route configuration that it is in. */
const domainsOf = (node: Node | undefined): string[] =>
  node === undefined
    ? []
    : node.references.domains.map((domain) => `${routeConfigurationOf(node.name)} ${domain.toLowerCase()}`);
