import type { DescMessage } from "@bufbuild/protobuf";

import { ClusterSchema } from "#envoy/config/cluster/v3/cluster_pb.ts";
import { TypedExtensionConfigSchema } from "#envoy/config/core/v3/extension_pb.ts";
import { LbEndpointSchema } from "#envoy/config/endpoint/v3/endpoint_components_pb.ts";
import { ClusterLoadAssignmentSchema } from "#envoy/config/endpoint/v3/endpoint_pb.ts";
import { ListenerSchema } from "#envoy/config/listener/v3/listener_pb.ts";
import { VirtualHostSchema } from "#envoy/config/route/v3/route_components_pb.ts";
import { RouteConfigurationSchema } from "#envoy/config/route/v3/route_pb.ts";
import { ScopedRouteConfigurationSchema } from "#envoy/config/route/v3/scoped_route_pb.ts";
import { SecretSchema } from "#envoy/extensions/transport_sockets/tls/v3/secret_pb.ts";
import { RuntimeSchema } from "#envoy/service/runtime/v3/rtds_pb.ts";

/** The types that Sluice makes resources of. */
type MadeName = "CDS" | "EDS" | "SDS" | "LDS" | "RDS" | "VHDS";

/** The types that clients may ask for, of which there are no resources. */
type EmptyName = "LEDS" | "SRDS" | "RTDS" | "ECDS";

/** An xDS resource type that the control plane answers for. */
export interface ServedType {
  /** As operators and Envoy's documentation say it. */
  readonly shortName: MadeName | EmptyName;
  readonly typeUrl: string;
  readonly schema: DescMessage;
  /** The field that carries the resource's name. */
  readonly nameField: "name" | "clusterName";
  /** Whether an empty first request means "all" (xDS: "How the client specifies what resources to return"; rule S10). */
  readonly wildcard: boolean;
  /** The state-of-the-world protocol doesn't have the type (T6). */
  readonly deltaOnly: boolean;
}

/** An xDS resource type that Sluice makes and its proxy takes. */
export interface ResourceType extends ServedType {
  readonly shortName: MadeName;
}

const type = <ShortName extends ServedType["shortName"]>(
  shortName: ShortName,
  schema: DescMessage,
  nameField: ServedType["nameField"],
  wildcard: boolean,
  deltaOnly = false,
) => ({ shortName, typeUrl: `type.googleapis.com/${schema.typeName}`, schema, nameField, wildcard, deltaOnly });

/** Each xDS type, in the order in which changes are pushed (make before break; rule W1). With `emptyTypes`, the only such table. */
export const resourceTypes: readonly ResourceType[] = [
  type("CDS", ClusterSchema, "name", true),
  type("EDS", ClusterLoadAssignmentSchema, "clusterName", false),
  // Clusters name secrets, too; both wait for them, so that here it only matters that they are not last.
  type("SDS", SecretSchema, "name", false),
  type("LDS", ListenerSchema, "name", true),
  type("RDS", RouteConfigurationSchema, "name", false),
  // Named ROUTE_CONFIGURATION/VIRTUAL_HOST. Envoy's first request names no host: it asks for the namespace of a route configuration
  // (VhdsSubscription::registerInitTargetWithInitManager).
  type("VHDS", VirtualHostSchema, "name", true, true),
];

/**
 * Types that data planes may ask for though nothing of Sluice's names them: they are told that there is nothing, as each type wants to be
 * told, and never wait for it (control-plane/xds/answers.ts).
 */
const emptyTypes: readonly ServedType[] = [
  type("LEDS", LbEndpointSchema, "name", false, true),
  type("SRDS", ScopedRouteConfigurationSchema, "name", true),
  type("RTDS", RuntimeSchema, "name", false),
  type("ECDS", TypedExtensionConfigSchema, "name", false),
];

/** All types that the control plane answers for, in the order of pushes. */
export const servedTypes: readonly ServedType[] = [...resourceTypes, ...emptyTypes];

export const servedTypeByUrl: ReadonlyMap<string, ServedType> = new Map(
  servedTypes.map((entry) => [entry.typeUrl, entry]),
);

export const resourceTypeByUrl: ReadonlyMap<string, ResourceType> = new Map(
  resourceTypes.map((entry) => [entry.typeUrl, entry]),
);

const byShortName = new Map(resourceTypes.map((entry) => [entry.shortName, entry]));

const servedByShortName = new Map(servedTypes.map((entry) => [entry.shortName, entry]));

/** The served type that everybody calls by this name. */
export function servedType(shortName: ServedType["shortName"]): ServedType {
  const found = servedByShortName.get(shortName);
  if (found === undefined) throw new Error(`no xDS resource type ${shortName}`);
  return found;
}

/** The type that everybody calls by this name. */
export function resourceType(shortName: ResourceType["shortName"]): ResourceType {
  const found = byShortName.get(shortName);
  if (found === undefined) throw new Error(`no xDS resource type ${shortName}`);
  return found;
}

/**
 * The route configuration that a virtual host belongs to: its name is what stands before the last slash, since a virtual host's own part of the
 * name has none (Envoy's VHDS page, "Virtual host naming convention"; rule O1). Undefined: the name has no slash, and belongs nowhere.
 */
export function routeConfigurationOf(virtualHost: string): string | undefined {
  const slash = virtualHost.lastIndexOf("/");
  return slash < 0 ? undefined : virtualHost.slice(0, slash);
}
