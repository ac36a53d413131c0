import type { DescMessage } from "@bufbuild/protobuf";

import { ClusterSchema } from "#envoy/config/cluster/v3/cluster_pb.ts";
import { ClusterLoadAssignmentSchema } from "#envoy/config/endpoint/v3/endpoint_pb.ts";
import { ListenerSchema } from "#envoy/config/listener/v3/listener_pb.ts";
import { RouteConfigurationSchema } from "#envoy/config/route/v3/route_pb.ts";
import { SecretSchema } from "#envoy/extensions/transport_sockets/tls/v3/secret_pb.ts";

/** An xDS resource type that Sluice serves and its proxy takes. */
export interface ResourceType {
  /** As operators and Envoy's documentation say it. */
  readonly shortName: "CDS" | "EDS" | "SDS" | "LDS" | "RDS";
  readonly typeUrl: string;
  readonly schema: DescMessage;
  /** The field that carries the resource's name. */
  readonly nameField: "name" | "clusterName";
  /** Whether an empty first request means "all" (xDS: "How the client specifies what resources to return"; rule S10). */
  readonly wildcard: boolean;
}

const type = (
  shortName: ResourceType["shortName"],
  schema: DescMessage,
  nameField: ResourceType["nameField"],
  wildcard: boolean,
): ResourceType => ({ shortName, typeUrl: `type.googleapis.com/${schema.typeName}`, schema, nameField, wildcard });

/** Each xDS type, in the order in which changes are pushed (make before break; rule W1). The only such table. */
export const resourceTypes: readonly ResourceType[] = [
  type("CDS", ClusterSchema, "name", true),
  type("EDS", ClusterLoadAssignmentSchema, "clusterName", false),
  // Clusters name secrets, too; both wait for them, so that here it only matters that they are not last.
  type("SDS", SecretSchema, "name", false),
  type("LDS", ListenerSchema, "name", true),
  type("RDS", RouteConfigurationSchema, "name", false),
];

export const resourceTypeByUrl: ReadonlyMap<string, ResourceType> = new Map(
  resourceTypes.map((entry) => [entry.typeUrl, entry]),
);

const byShortName = new Map(resourceTypes.map((entry) => [entry.shortName, entry]));

/** The type that everybody calls by this name. */
export function resourceType(shortName: ResourceType["shortName"]): ResourceType {
  const found = byShortName.get(shortName);
  if (found === undefined) throw new Error(`no xDS resource type ${shortName}`);
  return found;
}
