import { create, toBinary } from "@bufbuild/protobuf";

import { type Route as EnvoyRoute, RouteSchema } from "#envoy/config/route/v3/route_components_pb.ts";
import type { Route } from "#sluice/model/v1/route_pb.ts";
import type { Service } from "#sluice/model/v1/service_pb.ts";

import { alternatives } from "../model/alternatives.ts";
import type { RouteRank } from "../model/order.ts";
import { parsePath, parsePathPrefix } from "../model/paths.ts";
import type { Parsed } from "../model/problem.ts";
import { parseVars } from "../model/vars.ts";
import { conditionMatchers, methodMatchers } from "./matchers.ts";
import { toHeaderMutations } from "./header-mutations.ts";
import { routeName } from "./names.ts";
import { type PathMatch, pathMatches } from "./path-match.ts";
import { toRouteAction } from "./route-action.ts";
import { toDirectResponse, toRedirect } from "./route-answer.ts";

/** An Envoy route, and what decides its place among the routes of its virtual host. */
export interface RankedRoute {
  readonly rank: RouteRank;
  /** Encoded; most are never looked at again, and there may be many. */
  readonly bytes: Uint8Array;
}

/** The Envoy routes of a service, in no particular order; routes that are switched off have none. */
export function toRoutes(service: Service): RankedRoute[] {
  return service.routes.flatMap((route, position) =>
    route.enabled === false ? [] : routesOf(service, route, position),
  );
}

/**
 * One Envoy route for each way in which the path can match, and each alternative of the vars: Envoy knows no "or" in
 * a route.
 */
function routesOf(service: Service, route: Route, position: number): RankedRoute[] {
  const prefix = accepted(parsePathPrefix(service.pathPrefix));
  const vars = accepted(alternatives(accepted(parseVars(route.vars))));
  const headers = toHeaderMutations(service, route);
  return route.paths.flatMap((path) =>
    pathMatches(prefix, accepted(parsePath(path)), service.stripPathPrefix ?? true).flatMap((match) =>
      vars.map((conditions) => {
        const matchers = conditionMatchers(conditions);
        const rank: RouteRank = {
          pattern: match.pattern,
          priority: route.priority,
          hasVars: (route.vars?.values.length ?? 0) > 0,
          hasMethods: route.methods.length > 0,
          service: service.name,
          position,
        };
        return {
          rank,
          bytes: toBinary(
            RouteSchema,
            create(RouteSchema, {
              name: routeName(service, route),
              match: {
                pathSpecifier: match.specifier,
                headers: [...methodMatchers(route.methods), ...matchers.headers],
                queryParameters: matchers.queryParameters,
              },
              action: actionOf(service, route, match),
              ...headers,
            }),
          ),
        };
      }),
    ),
  );
}

function actionOf(service: Service, route: Route, { specifier, rewrite }: PathMatch): EnvoyRoute["action"] {
  switch (route.answer.case) {
    case "redirect":
      return { case: "redirect", value: toRedirect(route.answer.value, specifier) };
    case "directResponse":
      return { case: "directResponse", value: toDirectResponse(route.answer.value) };
    default:
      return { case: "route", value: { ...toRouteAction(service, route), ...rewrite } };
  }
}

/** What was accepted when it was written can be read; anything else is a bug, and is shown as one. */
function accepted<Value>(parsed: Parsed<Value>): Value {
  if (parsed.ok) return parsed.value;
  throw new Error(`a stored object is not valid: ${parsed.problems.map(({ message }) => message).join("; ")}`);
}
