import { toJsonString } from "@bufbuild/protobuf";
import { ListValueSchema } from "@bufbuild/protobuf/wkt";

import type { Route } from "#sluice/model/v1/route_pb.ts";
import type { Service } from "#sluice/model/v1/service_pb.ts";

import type { RouteRank } from "./order.ts";
import { parsePath, parsePathPrefix, type PathPattern } from "./paths.ts";

/** A route under one of its paths. */
export interface RouteEntry {
  readonly route: Route;
  readonly rank: RouteRank;
  /** Equal for expressions that are written alike; empty for none. */
  readonly vars: string;
}

/** Equal for patterns that match the same paths. */
export const patternKey = (pattern: PathPattern) =>
  pattern.map((segment) => (segment.kind === "literal" ? `/${segment.text}` : `/{${segment.kind}}`)).join("");

/** Each route that is switched on under each of its paths that can be read, in the order of the service. */
export function routeEntries(service: Service): RouteEntry[] {
  const prefix = parsePathPrefix(service.pathPrefix);
  const before: PathPattern = prefix.ok ? prefix.value : [];
  return service.routes.flatMap((route, position) => {
    if (route.enabled === false) return [];
    const vars =
      route.vars === undefined || route.vars.values.length === 0 ? "" : toJsonString(ListValueSchema, route.vars);
    return route.paths.flatMap((path): RouteEntry[] => {
      const parsed = parsePath(path);
      if (!parsed.ok) return [];
      const rank = {
        pattern: [...before, ...parsed.value],
        priority: route.priority,
        hasVars: vars !== "",
        hasMethods: route.methods.length > 0,
        service: service.name,
        position,
      };
      return [{ route, rank, vars }];
    });
  });
}
