import type { RouteConfiguration } from "#envoy/config/route/v3/route_pb.ts";
import {
  type DirectResponseAction,
  type Route as RouteMessage,
  type RouteMatch,
  type VirtualHost,
} from "#envoy/config/route/v3/route_components_pb.ts";

import { routeConfigurationOf } from "#proto/resource-types.ts";

import { type Compiled, Place } from "../compile.ts";
import { isGrpc } from "../grpc-status.ts";
import { Domains, normalDomain } from "./domains.ts";
import { compileFilterSwitches, type FilterSwitches } from "./filter-switches.ts";
import { compileForward } from "./forward.ts";
import { compileMutations, type Mutations, nest, NO_MUTATIONS } from "./header-mutations.ts";
import { compileFraction } from "./fraction.ts";
import { compileHeaderMatcher, compileQueryMatcher, type HeadTest } from "./matchers.ts";
import { CompiledRouteTable, type Conditions, type HostRoutes, VirtualHostRoutes } from "./match.ts";
import { compilePath, type PathMatch } from "./path.ts";
import { compileRedirect, ownLocation } from "./redirect.ts";
import { compileRetryPolicy } from "./retry.ts";
import type { Route, RouteAction } from "./route.ts";
import { compileTlsRequirement } from "./tls-requirement.ts";

/** RouteConfiguration.max_direct_response_body_size_bytes: "If not specified the default is 4096". */
const DIRECT_RESPONSE_BYTES_MAX_DEFAULT = 4096;

/** What a RouteConfiguration says for all of its virtual hosts. */
export interface RouteSettings {
  readonly mutations: Mutations;
  readonly mostSpecificWins: boolean;
  readonly directResponseBytesMax: number;
  readonly filters: FilterSwitches | undefined;
}

/** A VirtualHost made ready for use. Immutable. */
export interface CompiledVirtualHost {
  readonly name: string;
  /** In lower case, each once. */
  readonly domains: readonly string[];
  readonly routes: HostRoutes;
}

/** Compiles a RouteConfiguration, all of it; problems carry field paths from its root. */
export function compileRouteConfiguration(message: RouteConfiguration): Compiled<CompiledRouteTable> {
  const place = Place.root();
  if (message.vhds !== undefined)
    place.field("vhds").refuse("only a route configuration that comes by RDS may have it");
  return place.result(compileRouteTable(message, place).table);
}

/** Compiles all of a RouteConfiguration but `vhds`, which live-table.ts knows. */
export function compileRouteTable(
  message: RouteConfiguration,
  place: Place,
): { readonly table: CompiledRouteTable; readonly settings: RouteSettings } {
  const domains = new Domains<HostRoutes>(message.ignorePortInHostMatching);
  const clusters = new Set<string>();
  const settings: RouteSettings = {
    mutations: compileMutations(message, place),
    mostSpecificWins: message.mostSpecificHeaderMutationsWins,
    directResponseBytesMax: message.maxDirectResponseBodySizeBytes ?? DIRECT_RESPONSE_BYTES_MAX_DEFAULT,
    filters: compileFilterSwitches(message.typedPerFilterConfig, undefined, place),
  };
  message.virtualHosts.forEach((virtualHost, index) => {
    const at = place.item("virtual_hosts", index);
    const routes = compileVirtualHost(virtualHost, { ...settings, clusters }, at);
    if (virtualHost.domains.length === 0) at.field("domains").refuse("must not be empty");
    virtualHost.domains.forEach((domain, n) => {
      domains.add(domain, routes, at.item("domains", n));
    });
  });
  const internalOnly = message.internalOnlyHeaders.map((name) => name.toLowerCase());
  return { table: new CompiledRouteTable(message.name, domains, clusters, internalOnly), settings };
}

const settingsDefault: RouteSettings = {
  mutations: NO_MUTATIONS,
  mostSpecificWins: false,
  directResponseBytesMax: DIRECT_RESPONSE_BYTES_MAX_DEFAULT,
  filters: undefined,
};

/**
 * Compiles a VirtualHost that came by itself (VHDS), for a RouteConfiguration with these settings; problems carry field paths from its own
 * root. Whether it can be compiled doesn't depend on the settings.
 */
export function compileVirtualHostResource(
  message: VirtualHost,
  settings = settingsDefault,
): Compiled<CompiledVirtualHost> {
  const place = Place.root();
  if (routeConfigurationOf(message.name) === undefined) {
    place.field("name").refuse("must be ROUTE_CONFIGURATION/VIRTUAL_HOST, as it came by VHDS");
  }
  const routes = compileVirtualHost(message, { ...settings, clusters: new Set() }, place);
  const domains = new Domains<true>(false);
  if (message.domains.length === 0) place.field("domains").refuse("must not be empty");
  message.domains.forEach((domain, n) => domains.add(domain, true, place.item("domains", n)));
  return place.result({ name: message.name, domains: message.domains.map(normalDomain), routes });
}

interface Shared extends RouteSettings {
  readonly clusters: Set<string>;
}

function compileVirtualHost(virtualHost: VirtualHost, shared: Shared, place: Place): VirtualHostRoutes {
  const retry = virtualHost.retryPolicy && compileRetryPolicy(virtualHost.retryPolicy, place.field("retry_policy"));
  const { includeRequestAttemptCount: inRequest, includeAttemptCountInResponse: inResponse } = virtualHost;
  const attemptCount = inRequest || inResponse ? { inRequest, inResponse } : undefined;
  const context = { ...shared, retry, attemptCount };
  const hostMutations = compileMutations(virtualHost, place);
  const hostFilters = compileFilterSwitches(virtualHost.typedPerFilterConfig, shared.filters, place);
  const routes = new VirtualHostRoutes(compileTlsRequirement(virtualHost.requireTls, place.field("require_tls")));
  virtualHost.routes.forEach((route, index) => {
    const at = place.item("routes", index);
    if (route.match === undefined) {
      at.field("match").refuse("must be set");
      return;
    }
    const isConnect = route.match.pathSpecifier.case === "connectMatcher";
    const path = isConnect ? NO_PATH : compilePath(route.match, at.field("match"));
    const conditions = compileConditions(route.match, at.field("match"));
    const action = path && compileAction(route, path, context, at);
    const mutations = nest([compileMutations(route, at), hostMutations, shared.mutations], shared.mostSpecificWins);
    const filters = compileFilterSwitches(route.typedPerFilterConfig, hostFilters, at);
    if (path === undefined || action === undefined) return;
    if (isConnect !== connects(action)) {
      at.refuse("connect_matcher, and upgrade_configs with CONNECT and a connect_config, go together");
    }
    const compiled: Route = { name: route.name, virtualHost: virtualHost.name, mutations, action, filters };
    if (isConnect) routes.addConnect(conditions, compiled);
    else routes.add(path, conditions, compiled);
  });
  return routes;
}

/** What a CONNECT has for a path. */
const NO_PATH: PathMatch = { patterns: [], ignoreCase: false, matchedLength: () => 0 };

/** Whether a route is for CONNECT. */
const connects = (action: RouteAction): boolean => action.kind === "forward" && action.forward.upgrades.has("connect");

function compileConditions(match: RouteMatch, place: Place): Conditions {
  const tests: HeadTest[] = [];
  match.headers.forEach((matcher, index) => {
    const test = compileHeaderMatcher(matcher, place.item("headers", index));
    if (test !== undefined) tests.push(test);
  });
  match.queryParameters.forEach((matcher, index) => {
    const test = compileQueryMatcher(matcher, place.item("query_parameters", index));
    if (test !== undefined) tests.push(test);
  });
  if (match.grpc !== undefined) tests.push(({ headers }) => isGrpc(headers));
  return { tests, fraction: compileFraction(match, place) };
}

function compileAction(
  route: RouteMessage,
  path: PathMatch,
  context: Parameters<typeof compileForward>[2] & Shared,
  place: Place,
): RouteAction | undefined {
  const { action } = route;
  switch (action.case) {
    case "route": {
      const forward = compileForward(action.value, path, context, place.field("route"));
      return forward && { kind: "forward", forward };
    }
    case "redirect":
      return compileRedirect(action.value, path, place.field("redirect"));
    case "directResponse":
      return compileDirect(action.value, context.directResponseBytesMax, place.field("direct_response"));
    case undefined:
      place.refuse("one of route, redirect, direct_response must be set");
      return undefined;
    default:
      place.field(action.case === "filterAction" ? "filter_action" : "non_forwarding_action").refuse("not supported");
      return undefined;
  }
}

function compileDirect(direct: DirectResponseAction, bytesMax: number, place: Place): RouteAction | undefined {
  if (direct.status < 200 || direct.status > 599) {
    place.field("status").refuse("must be within [200, 600)");
    return undefined;
  }
  const specifier = direct.body?.specifier;
  const at = place.field("body");
  if (specifier?.case === "filename" || specifier?.case === "environmentVariable") {
    at.refuse("only inline_string and inline_bytes are supported");
    return undefined;
  }
  const body = specifier?.case === "inlineString" ? Buffer.from(specifier.value, "utf8") : specifier?.value;
  if (body !== undefined && body.length > bytesMax) {
    at.refuse(`has ${body.length} bytes; max_direct_response_body_size_bytes is ${bytesMax}`);
    return undefined;
  }
  const { status } = direct;
  const tellsLocation = status === 201 || (status >= 300 && status < 400);
  return {
    ...{ kind: "direct", status, body: body ?? new Uint8Array(0) },
    ...(tellsLocation && { location: ownLocation }),
  };
}
