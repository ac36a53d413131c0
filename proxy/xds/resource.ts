import type { Message } from "@bufbuild/protobuf";

import { type ResourceType, resourceType } from "#proto/resource-types.ts";

import type { References } from "./references.ts";

/** A resource put in place or, when `bytes` is null, taken away. Bytes may be shared: nobody writes to them. */
export interface ResourceUpdate {
  readonly typeUrl: string;
  readonly name: string;
  readonly bytes: Uint8Array | null;
}

/** A resource as it came from a control plane (or from disk), judged and found good. */
export interface Resource {
  readonly name: string;
  readonly version: string;
  readonly bytes: Uint8Array;
  readonly message: Message;
  /** When it came, wall clock, ms since 1970. */
  readonly updatedMs: number;
}

/** A resource with the names of others that it needs. */
export interface Node extends Resource {
  readonly references: References;
}

/** What the data path is told of a resource. */
export const update = (
  shortName: ResourceType["shortName"],
  name: string,
  bytes: Uint8Array | null,
): ResourceUpdate => ({
  typeUrl: resourceType(shortName).typeUrl,
  name,
  bytes,
});
