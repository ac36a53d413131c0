/** Small resources for tests of what carries them. */
import { create, toBinary } from "@bufbuild/protobuf";

import { ClusterSchema } from "#envoy/config/cluster/v3/cluster_pb.ts";
import { ClusterLoadAssignmentSchema } from "#envoy/config/endpoint/v3/endpoint_pb.ts";
import { ListenerSchema } from "#envoy/config/listener/v3/listener_pb.ts";
import { VirtualHostSchema } from "#envoy/config/route/v3/route_components_pb.ts";
import { RouteConfigurationSchema } from "#envoy/config/route/v3/route_pb.ts";
import { SecretSchema } from "#envoy/extensions/transport_sockets/tls/v3/secret_pb.ts";
import { type ResourceType, resourceType } from "#proto/resource-types.ts";

type ShortName = ResourceType["shortName"];

const encode: Record<ShortName, (name: string, content: string) => Uint8Array> = {
  CDS: (name, altStatName) => toBinary(ClusterSchema, create(ClusterSchema, { name, altStatName })),
  EDS: (clusterName, zone) => {
    const endpoints = zone === "" ? [] : [{ locality: { zone } }];
    return toBinary(ClusterLoadAssignmentSchema, create(ClusterLoadAssignmentSchema, { clusterName, endpoints }));
  },
  SDS: (name, secret) =>
    toBinary(
      SecretSchema,
      create(SecretSchema, {
        name,
        type: { case: "genericSecret", value: { secret: { specifier: { case: "inlineString", value: secret } } } },
      }),
    ),
  LDS: (name, statPrefix) => toBinary(ListenerSchema, create(ListenerSchema, { name, statPrefix })),
  RDS: (name, header) =>
    toBinary(RouteConfigurationSchema, create(RouteConfigurationSchema, { name, internalOnlyHeaders: [header] })),
  VHDS: (name, domain) => toBinary(VirtualHostSchema, create(VirtualHostSchema, { name, domains: [domain] })),
};

/** The type URL of a type, as the tests call it. */
export const typeUrlOf = (type: ShortName): string => resourceType(type).typeUrl;

/** A resource whose bytes differ with `content`; null content removes it. For `ResourceCache.update`. */
export const resource = (type: ShortName, name: string, content: string | null = "1") => ({
  typeUrl: typeUrlOf(type),
  name,
  bytes: content === null ? null : encode[type](name, content),
});
