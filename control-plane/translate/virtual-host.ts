import { create } from "@bufbuild/protobuf";

import { VirtualHostSchema } from "#envoy/config/route/v3/route_components_pb.ts";

import { compareRoutes } from "../model/order.ts";
import { encodeWith } from "./encode.ts";
import type { RankedRoute } from "./route.ts";

/**
 * An encoded virtual host with these routes, in the order in which they must be tried. Envoy picks it by the most
 * specific of all domains of the RouteConfiguration and tries no other: a request that none of its routes takes is
 * answered 404.
 */
export function encodeVirtualHost(
  name: string,
  domains: readonly string[],
  routes: readonly RankedRoute[],
): Uint8Array<ArrayBuffer> {
  const ordered = routes.toSorted((a, b) => compareRoutes(a.rank, b.rank));
  return encodeWith(
    VirtualHostSchema,
    create(VirtualHostSchema, { name, domains: [...domains] }),
    VirtualHostSchema.field.routes,
    ordered.map(({ bytes }) => bytes),
  );
}
