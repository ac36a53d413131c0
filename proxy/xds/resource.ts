import { fromBinary, type Message } from "@bufbuild/protobuf";

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
  /** Of endpoint sets and virtual hosts decoded anew each time that somebody looks. */
  readonly message: Message;
  /** When it came, wall clock, ms since 1970. */
  readonly updatedMs: number;
}

/** A resource with the names of others that it needs. */
export interface Node extends Resource {
  readonly references: References;
}

/** Of a large configuration these are most; decoded, they are several times as large, and hardly ever looked at again. */
const manyTypes: ReadonlySet<ResourceType["shortName"]> = new Set(["EDS", "VHDS"]);

/** A resource as it is kept. */
export function nodeOf(type: ResourceType, resource: Resource, references: References): Node {
  if (!manyTypes.has(type.shortName)) return { ...resource, references };
  const { name, version, bytes, updatedMs } = resource;
  return new EncodedNode(type, { name, version, bytes, updatedMs, references });
}

class EncodedNode implements Node {
  readonly name: string;
  readonly version: string;
  readonly bytes: Uint8Array;
  readonly updatedMs: number;
  readonly references: References;
  readonly #type: ResourceType;

  constructor(type: ResourceType, { name, version, bytes, updatedMs, references }: Omit<Node, "message">) {
    this.#type = type;
    this.name = name;
    this.version = version;
    this.bytes = bytes;
    this.updatedMs = updatedMs;
    this.references = references;
  }

  get message(): Message {
    return fromBinary(this.#type.schema, this.bytes);
  }
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
