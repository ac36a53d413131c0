import { resourceType } from "#proto/resource-types.ts";

import type { ResourceCache, ResourceUpdate } from "./cache.ts";

const sds = resourceType("SDS").typeUrl;

/** Whether it is a resource that must not cross a network as plain text. */
export const isSecret = ({ typeUrl }: Pick<ResourceUpdate, "typeUrl">): boolean => typeUrl === sds;

/**
 * The part of a cache that is written to, without secrets: private keys must not cross a network as plain text. Data planes then wait for
 * what needs them, and say so.
 * @param warn is called with the gateway group's name when the first secret of a group is withheld
 */
export function withoutSecrets(
  cache: ResourceCache,
  warn: (group: string) => void,
): Pick<ResourceCache, "update" | "removeGroup" | "markReady"> {
  const warned = new Set<string>();
  return {
    update(group, updates) {
      const others = updates.filter((update) => !isSecret(update));
      if (others.length < updates.length && !warned.has(group)) {
        warned.add(group);
        warn(group);
      }
      return cache.update(group, others);
    },
    removeGroup(group) {
      warned.delete(group);
      return cache.removeGroup(group);
    },
    markReady: () => cache.markReady(),
  };
}
