import { create, toBinary } from "@bufbuild/protobuf";

import {
  DirectResponseActionSchema,
  type Route as EnvoyRoute,
  RouteActionSchema,
  RouteSchema,
} from "#envoy/config/route/v3/route_components_pb.ts";
import type { Route } from "#sluice/model/v1/route_pb.ts";
import type { Service } from "#sluice/model/v1/service_pb.ts";

import { alternatives, type Condition } from "../model/alternatives.ts";
import type { RouteRank } from "../model/order.ts";
import { parsePath, parsePathPrefix } from "../model/paths.ts";
import type { Parsed } from "../model/problem.ts";
import { parseVars } from "../model/vars.ts";
import { conditionMatchers, methodMatchers } from "./matchers.ts";
import { changesHeaders, toHeaderMutations } from "./header-mutations.ts";
import { routeName } from "./names.ts";
import { type PathMatch, pathMatches } from "./path-match.ts";
import { toRouteAction } from "./route-action.ts";
import { toDirectResponse, toRedirect } from "./route-answer.ts";
import { encodePlainRoute, type PlainRoute } from "./route-bytes.ts";

const { route: forward, directResponse } = RouteSchema.field;

/** An Envoy route, and what decides its place among the routes of its virtual host. */
export interface RankedRoute {
  readonly rank: RouteRank;
  /** Encoded; most are never looked at again, and there may be many. */
  readonly bytes: Uint8Array;
}

/** The Envoy routes of a service, in no particular order; routes that are switched off have none. */
export function toRoutes(service: Service): RankedRoute[] {
  const actions = new Map<string, Uint8Array>();
  return service.routes.flatMap((route, position) =>
    route.enabled === false ? [] : routesOf(service, route, position, actions),
  );
}

/**
 * One Envoy route for each way in which the path can match, and each alternative of the vars: Envoy knows no "or" in
 * a route.
 * @param actions what routes of the service do that say nothing of it but their upstream's name, by that, encoded
 */
function routesOf(service: Service, route: Route, position: number, actions: Map<string, Uint8Array>): RankedRoute[] {
  const prefix = accepted(parsePathPrefix(service.pathPrefix));
  const vars = accepted(alternatives(accepted(parseVars(route.vars))));
  return route.paths.flatMap((path) =>
    pathMatches(prefix, accepted(parsePath(path)), service.stripPathPrefix ?? true).flatMap((match) =>
      vars.map((conditions) => {
        const rank: RouteRank = {
          pattern: match.pattern,
          priority: route.priority,
          hasVars: (route.vars?.values.length ?? 0) > 0,
          hasMethods: route.methods.length > 0,
          service: service.name,
          position,
        };
        const plain = conditions.length === 0 ? plainRoute(service, route, match, actions) : undefined;
        return {
          rank,
          bytes: plain === undefined ? encodeRoute(service, route, match, conditions) : encodePlainRoute(plain),
        };
      }),
    ),
  );
}

function encodeRoute(
  service: Service,
  route: Route,
  match: PathMatch,
  conditions: readonly Condition[],
): Uint8Array<ArrayBuffer> {
  const matchers = conditionMatchers(conditions);
  return toBinary(
    RouteSchema,
    create(RouteSchema, {
      name: routeName(service, route),
      match: {
        pathSpecifier: match.specifier,
        headers: [...methodMatchers(route.methods), ...matchers.headers],
        queryParameters: matchers.queryParameters,
      },
      action: actionOf(service, route, match),
      ...toHeaderMutations(service, route),
    }),
  );
}

/** What `encodeRoute` would make without conditions, where it is so simple; most routes are. */
function plainRoute(
  service: Service,
  route: Route,
  { specifier, rewrite }: PathMatch,
  actions: Map<string, Uint8Array>,
): PlainRoute | undefined {
  if (specifier.case !== "path" && specifier.case !== "prefix") return undefined;
  if (rewrite.prefixRewrite !== undefined || rewrite.regexRewrite !== undefined) return undefined;
  if (changesHeaders(service, route)) return undefined;
  const name = routeName(service, route);
  if (route.answer.case === "directResponse") {
    const bytes = toBinary(DirectResponseActionSchema, toDirectResponse(route.answer.value));
    return { name, match: specifier, methods: route.methods, action: { field: directResponse, bytes } };
  }
  if (route.answer.case !== undefined || !saysOnlyUpstream(route)) return undefined;
  let bytes = actions.get(route.upstream);
  if (bytes === undefined) {
    bytes = toBinary(RouteActionSchema, toRouteAction(service, route));
    actions.set(route.upstream, bytes);
  }
  return { name, match: specifier, methods: route.methods, action: { field: forward, bytes } };
}

/** Whether whatever else the route does is its upstream's affair. */
const saysOnlyUpstream = ({ timeouts, mirrors, websocket }: Route): boolean =>
  timeouts === undefined && mirrors.length === 0 && !websocket;

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
