/**
 * What is said of types of which there are no resources (`servedTypes` without `resourceTypes`). For most of them the general rules do: an
 * unknown name is answered as removed in delta (D4), and not at all in state of the world (S15). Two types are told in their own way.
 */
import { hash } from "node:crypto";

import { create, toBinary } from "@bufbuild/protobuf";

import { RuntimeSchema } from "#envoy/service/runtime/v3/rtds_pb.ts";
import { resourceTypeByUrl, type ServedType, servedType } from "#proto/resource-types.ts";

import type { CachedResource, ResourceCache, ResourceSet } from "./cache.ts";
import { encodeBodiless, encodeEntry } from "./wire.ts";

type Answer = (name: string) => CachedResource;

/** A set that makes a resource for whatever name is asked for, and has none by itself. */
class AnsweringSet implements ResourceSet {
  readonly size = 0;
  readonly version = "0";
  readonly #answer: Answer;

  constructor(answer: Answer) {
    this.#answer = answer;
  }

  get(name: string): CachedResource {
    return this.#answer(name);
  }

  has(): boolean {
    return true;
  }

  values(): Iterable<CachedResource> {
    return [];
  }
}

const RTDS = servedType("RTDS").typeUrl;

/** O5: a runtime layer that nobody has written is empty, or Envoy's start waits 15 s for it. */
function emptyLayer(name: string): CachedResource {
  const bytes = toBinary(RuntimeSchema, create(RuntimeSchema, { name, layer: {} }));
  const version = hash("sha256", bytes, "hex").slice(0, 16);
  return { name, version, setHash: 0n, sinceMs: 0, ...encodeEntry(name, version, RTDS, bytes) };
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

const answering: ReadonlyMap<string, ResourceSet> = new Map([
  [RTDS, new AnsweringSet(emptyLayer)],
  [servedType("VHDS").typeUrl, new AnsweringSet(absentHost)],
]);

/**
 * The resources of a type as a stream of a gateway group may serve them now.
 *
 * @returns undefined while the group doesn't exist or the cache is not ready
 */
export function servedSet(cache: ResourceCache, group: string, { typeUrl }: ServedType): ResourceSet | undefined {
  const set = cache.resources(group, typeUrl);
  if (set === undefined || resourceTypeByUrl.has(typeUrl)) return set;
  return answering.get(typeUrl) ?? set;
}
