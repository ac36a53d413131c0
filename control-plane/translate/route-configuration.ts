import { create, toBinary } from "@bufbuild/protobuf";

import { RouteConfigurationSchema } from "#envoy/config/route/v3/route_pb.ts";

import { ROUTE_CONFIGURATION } from "./names.ts";

/**
 * The encoded RouteConfiguration of a gateway group. Its virtual hosts are resources of their own, so that it never changes; data planes
 * that don't take them one by one get them inside of it (xds/whole-routes.ts).
 */
export const encodeRouteConfiguration = (): Uint8Array<ArrayBuffer> =>
  toBinary(
    RouteConfigurationSchema,
    create(RouteConfigurationSchema, {
      name: ROUTE_CONFIGURATION,
      ignorePortInHostMatching: true,
      vhds: { configSource: { configSourceSpecifier: { case: "ads", value: {} } } },
    }),
  );
