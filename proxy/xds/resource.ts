import type { Message } from "@bufbuild/protobuf";

import type { VirtualHost } from "#envoy/config/route/v3/route_components_pb.ts";
import { type ResourceType, resourceType, routeConfigurationOf } from "#proto/resource-types.ts";

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

/** Whether a route configuration takes its virtual hosts by VHDS. */
export const takesVirtualHosts = (node: Node | undefined): boolean => (node?.references.virtualHosts.size ?? 0) > 0;

/** The domains of a virtual host, each with the route configuration that it is in. */
export const domainsOf = (node: Node | undefined): string[] =>
  node === undefined
    ? []
    : (node.message as VirtualHost).domains.map(
        (domain) => `${routeConfigurationOf(node.name)} ${domain.toLowerCase()}`,
      );

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
