import { hash } from "node:crypto";

import type { EncodedResource } from "./service.ts";

/** A resource that is new or different, encoded; without bytes, one that is gone. */
export interface ResourceChange extends Omit<EncodedResource, "bytes"> {
  readonly bytes: Uint8Array | null;
}

/** What is remembered of a resource that was handed over: its bytes are the xDS cache's, and would be kept twice here. */
export interface KnownResource extends Omit<EncodedResource, "bytes"> {
  readonly digest: string;
}

/** Tells contents apart: equal for equal bytes, and for no others that anybody could find. */
export const digestOf = (bytes: Uint8Array): string => hash("sha256", bytes, "base64url");

/** How to come from some resources to others, and what to remember of these. */
export function difference(
  before: readonly KnownResource[],
  after: readonly EncodedResource[],
): { readonly changes: readonly ResourceChange[]; readonly known: readonly KnownResource[] } {
  const { changes, known } = replacements(before, after);
  const kept = new Set(after.map(keyOf));
  const gone = before.filter((resource) => !kept.has(keyOf(resource)));
  return { changes: [...changes, ...gone.map(({ typeUrl, name }) => ({ typeUrl, name, bytes: null }))], known };
}

/** What some resources change where all others stay, and what to remember of these. */
export function replacements(
  before: readonly KnownResource[],
  after: readonly EncodedResource[],
): { readonly changes: readonly ResourceChange[]; readonly known: readonly KnownResource[] } {
  const digests = new Map(before.map((resource) => [keyOf(resource), resource.digest]));
  const known = after.map(({ typeUrl, name, bytes }) => ({ typeUrl, name, digest: digestOf(bytes) }));
  return { changes: after.filter((resource, at) => digests.get(keyOf(resource)) !== known[at]?.digest), known };
}

const keyOf = ({ typeUrl, name }: Omit<EncodedResource, "bytes">): string => `${typeUrl} ${name}`;
