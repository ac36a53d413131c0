import { fromBinary, type Message } from "@bufbuild/protobuf";

import { type ResourceType, resourceType } from "#proto/resource-types.ts";

import { bytesOf, keep, type Kept } from "../kept.ts";

import type { References } from "./references.ts";

/** A resource put in place or, when `resource` is null, taken away. */
export interface ResourceUpdate {
  readonly typeUrl: string;
  readonly name: string;
  readonly resource: Pick<Resource, "bytes"> | null;
}

/** A resource as it came from a control plane (or from disk), judged and found good. */
export interface Resource {
  readonly name: string;
  readonly version: string;
  /** Of most resources made anew each time that somebody looks. */
  readonly bytes: Uint8Array;
  /** Of clusters, endpoint sets and virtual hosts decoded anew each time that somebody looks. */
  readonly message: Message;
  /** When it came, wall clock, ms since 1970. */
  readonly updatedMs: number;
  /** The names of others that it needs, where they are known already. */
  readonly references?: References;
}

/** A resource with the names of others that it needs. */
export interface Node extends Resource {
  readonly references: References;
}

/** Of a large configuration these are most; decoded, they are several times as large, and hardly ever looked at again. */
const manyTypes: ReadonlySet<ResourceType["shortName"]> = new Set(["CDS", "EDS", "VHDS"]);

/** Whether resources of a type are kept as (a copy of) their bytes alone, and not as messages, which may be views of these. */
export const keepsBytes = (type: ResourceType): boolean => manyTypes.has(type.shortName);

/** A resource as it is kept. */
export function nodeOf(type: ResourceType, resource: Resource, references: References): Node {
  if (!keepsBytes(type)) return { ...resource, references };
  return new EncodedNode(type, resource, references);
}

/** A resource that was found good without being decoded; the bytes may be a view of others, and are good until it is kept. */
export const undecoded = (
  type: ResourceType,
  resource: Omit<Resource, "message" | "references"> & { readonly references: References },
): Resource => ({
  ...resource,
  get message() {
    return fromBinary(type.schema, resource.bytes);
  },
});

class EncodedNode implements Node {
  readonly name: string;
  readonly version: string;
  readonly updatedMs: number;
  readonly references: References;
  readonly #type: ResourceType;
  readonly #kept: Kept;

  constructor(type: ResourceType, { name, version, bytes, updatedMs }: Resource, references: References) {
    this.#type = type;
    this.name = name;
    this.version = version;
    this.updatedMs = updatedMs;
    this.references = references;
    this.#kept = keep(bytes);
  }

  get bytes(): Uint8Array {
    return bytesOf(this.#kept);
  }

  get message(): Message {
    return fromBinary(this.#type.schema, this.bytes);
  }
}

/** What the data path is told of a resource: as it is now, or that it is gone. */
export const update = (
  shortName: ResourceType["shortName"],
  name: string,
  resource: ResourceUpdate["resource"],
): ResourceUpdate => ({ typeUrl: resourceType(shortName).typeUrl, name, resource });
