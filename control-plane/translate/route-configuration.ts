import { create } from "@bufbuild/protobuf";

import { RouteConfigurationSchema } from "#envoy/config/route/v3/route_pb.ts";

import { compareText } from "../model/order.ts";
import { encodeWith } from "./encode.ts";
import { ROUTE_CONFIGURATION } from "./names.ts";

/**
 * The encoded RouteConfiguration of a gateway group, put together from its encoded virtual hosts in the order of
 * their names: a changed service costs the encoding of one virtual host and a copy of the others.
 */
export function encodeRouteConfiguration(virtualHosts: ReadonlyMap<string, Uint8Array>): Uint8Array<ArrayBuffer> {
  const byName = [...virtualHosts].sort(([a], [b]) => compareText(a, b));
  return encodeWith(
    RouteConfigurationSchema,
    create(RouteConfigurationSchema, { name: ROUTE_CONFIGURATION, ignorePortInHostMatching: true }),
    RouteConfigurationSchema.field.virtualHosts,
    byName.map(([, bytes]) => bytes),
  );
}
