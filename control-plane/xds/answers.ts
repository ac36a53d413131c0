/**
 * What is said of names that don't exist. For most types the general rules do: an unknown name is answered as removed in delta (D4), and not
 * at all in state of the world (S15). Two types are told in their own way.
 */
import { create, toBinary } from "@bufbuild/protobuf";

import { RuntimeSchema } from "#envoy/service/runtime/v3/rtds_pb.ts";
import { resourceType, servedType } from "#proto/resource-types.ts";

import type { CachedResource, ResourceCache, ResourceSet } from "./cache.ts";
import { cachedResource, versionOf } from "./resource.ts";
import { AliasedSet, findHosts } from "./hosts-on-demand.ts";
import { byHost, type Subscription } from "./subscription.ts";
import { encodeBodiless } from "./wire.ts";

/** What stands for a name that doesn't exist. */
interface Answer {
  readonly resource: (name: string) => CachedResource;
  /** Whether it is as good as a resource: the name is then never told to be gone. */
  readonly exists: boolean;
}

/** A set that makes a resource for whatever name it doesn't have. */
class AnsweringSet implements ResourceSet {
  readonly #set: ResourceSet;
  readonly #answer: Answer;

  constructor(set: ResourceSet, answer: Answer) {
    this.#set = set;
    this.#answer = answer;
  }

  get size(): number {
    return this.#set.size;
  }

  get version(): string {
    return this.#set.version;
  }

  get names(): ReadonlySet<string> | undefined {
    return this.#set.names;
  }

  get(name: string): CachedResource {
    return this.#set.get(name) ?? this.#answer.resource(name);
  }

  has(name: string): boolean {
    return this.#answer.exists || this.#set.has(name);
  }

  values(): Iterable<CachedResource> {
    return this.#set.values();
  }
}

const RTDS = servedType("RTDS").typeUrl;

/** O5: a runtime layer that nobody has written is empty, or Envoy's start waits 15 s for it. */
function emptyLayer(name: string): CachedResource {
  const bytes = toBinary(RuntimeSchema, create(RuntimeSchema, { name, layer: {} }));
  return cachedResource(RTDS, name, versionOf(bytes), bytes);
}

/** The version of what doesn't exist; clients show it, so it is a word. */
const ABSENT = "absent";

/** O1: a virtual host that doesn't exist is a resource without a body under the name that was asked for, which ends Envoy's wait with a 404. */
const absentHost = (name: string): CachedResource => ({
  name,
  version: ABSENT,
  setHash: 0n,
  sinceMs: 0,
  ...encodeBodiless(name, ABSENT, [name]),
});

const answers: ReadonlyMap<string, Answer> = new Map([
  [RTDS, { resource: emptyLayer, exists: true }],
  [resourceType("VHDS").typeUrl, { resource: absentHost, exists: false }],
]);

/**
 * The resources that a subscription of a stream of a gateway group may be served now.
 *
 * @returns undefined while the group doesn't exist or the cache is not ready
 */
export function servedSet(
  cache: Pick<ResourceCache, "resources">,
  group: string,
  sub: Subscription,
): ResourceSet | undefined {
  const set = cache.resources(group, sub.view);
  const answer = answers.get(sub.view);
  if (set === undefined || answer === undefined) return set;
  if (byHost(sub.type)) findHosts(sub, set);
  return new AnsweringSet(sub.asked === undefined ? set : new AliasedSet(set, sub.asked), answer);
}
