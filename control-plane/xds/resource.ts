import { hash } from "node:crypto";

import type { Past } from "./past-sets.ts";
import { encodeEntry, type ResourceEntry } from "./wire.ts";

/** A resource as it is served: encoded once, shared by all streams, never changed. */
export interface CachedResource extends ResourceEntry {
  readonly name: string;
  /** A hash of the content: the same on every replica and after every restart (rule S17). */
  readonly version: string;
  /** What the resource adds to the hash of a set. */
  readonly setHash: bigint;
  /** Since when this content is served, in milliseconds since the epoch; 0 for what has no content. */
  readonly sinceMs: number;
}

/** Resources of one type, as one client may be served them. */
export interface ResourceSet extends Pick<ReadonlyMap<string, CachedResource>, "get" | "has" | "size"> {
  values(): Iterable<CachedResource>;
  /** A hash of all names and contents, whatever their order. */
  readonly version: string;
  /** All names, as a set that never changes; another one once there are others. Undefined where nobody keeps it. */
  readonly names?: ReadonlySet<string> | undefined;
  /** How the set that has had this version differs from this one; undefined where that isn't known. */
  past?(version: string): Past | undefined;
}

const SET_HASH_BITS = 64;

/** The version of a resource: a hash of its bytes. */
// Not cut from the text of all of it, which would then be kept, too.
export const versionOf = (bytes: Uint8Array): string => hash("sha256", bytes, "buffer").toString("hex", 0, 8);

/** Makes a resource ready to be served. */
export function cachedResource(typeUrl: string, name: string, version: string, bytes: Uint8Array): CachedResource {
  const setHash = BigInt(`0x${hash("sha256", `${version} ${name}`, "hex").slice(0, SET_HASH_BITS / 4)}`);
  return { name, version, setHash, sinceMs: Date.now(), ...encodeEntry(name, version, typeUrl, bytes) };
}

/** The version of a set whose `setHash`es add up to `sum`. */
export const setVersion = (sum: bigint): string => BigInt.asUintN(SET_HASH_BITS, sum).toString(16).padStart(16, "0");
