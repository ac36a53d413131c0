import type { Any } from "@bufbuild/protobuf/wkt";

import type { Filter, FilterChain } from "#envoy/config/listener/v3/listener_components_pb.ts";
import type { Listener } from "#envoy/config/listener/v3/listener_pb.ts";
import {
  type HttpConnectionManager,
  HttpConnectionManagerSchema,
} from "#envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.ts";
import { unpack } from "#proto/registry.ts";

import { compileSocketAddress } from "../cluster/assignment.ts";
import { type Compiled, Place } from "../compile.ts";
import { compileFilters } from "../filters/compile.ts";
import { compileAccessLogs } from "../observe/compile.ts";
import type { LogSinks } from "../observe/file-sink.ts";
import { compileTracing } from "../observe/trace/compile.ts";
import { compileRouteConfiguration } from "../route/compile.ts";
import type { RouteTable } from "../route/route.ts";
import { compileHttpOptions } from "./compile-http.ts";
import type { ListenerOptions } from "./options.ts";

/** As Node's net.Server.listen; the kernel cuts it at net.core.somaxconn. */
const BACKLOG_DEFAULT = 511;

/** A listener, and the route table that it brings along unless it names one that comes by RDS. */
export interface CompiledListener {
  readonly options: ListenerOptions;
  readonly inlineRoutes: RouteTable | undefined;
}

/** Compiles a Listener; problems carry field paths from its root. Access logs write to sinks of `sinks`, opened at the first line. */
export function compileListener(message: Listener, sinks: LogSinks): Compiled<CompiledListener> {
  const place = Place.root();
  const socket = compileSocketAddress(message.address, false, place.field("address"));
  const chain = onlyFilterChain(message, place);
  const manager = chain && connectionManager(chain.chain, chain.place);
  if (socket === undefined || manager === undefined) return place.result(NOTHING);
  const { message: http, place: at } = manager;
  const filters = compileFilters(http.httpFilters, at);
  const routes = compileRoutes(http, message.name, at);
  return place.result({
    options: {
      name: message.name,
      ...socket,
      backlog: message.tcpBacklogSize ?? BACKLOG_DEFAULT,
      http: {
        ...compileHttpOptions(http, at),
        ...(filters !== undefined && { filters }),
        routeConfigName: routes.name,
        accessLogs: compileAccessLogs(http.accessLog, sinks, at),
        tracing: compileTracing(http.tracing, sinks.exporters, at.field("tracing")),
      },
    },
    inlineRoutes: routes.inline,
  });
}

/** Never seen by anyone: where there is no value there are problems. */
const NOTHING = undefined as unknown as CompiledListener;

function onlyFilterChain(
  message: Listener,
  place: Place,
): { readonly chain: FilterChain; readonly place: Place } | undefined {
  const { filterChains, defaultFilterChain } = message;
  if (filterChains.length + (defaultFilterChain === undefined ? 0 : 1) !== 1) {
    place.field("filter_chains").refuse("exactly one filter chain is supported");
    return undefined;
  }
  const [first] = filterChains;
  if (first !== undefined) return { chain: first, place: place.item("filter_chains", 0) };
  return defaultFilterChain && { chain: defaultFilterChain, place: place.field("default_filter_chain") };
}

function connectionManager(
  { filters }: FilterChain,
  place: Place,
): { readonly message: HttpConnectionManager; readonly place: Place } | undefined {
  const [filter] = filters;
  if (filter === undefined || filters.length !== 1) {
    place.field("filters").refuse("exactly one network filter is supported, the HttpConnectionManager");
    return undefined;
  }
  const at = place.item("filters", 0);
  const any = typedConfig(filter, at);
  const unpacked = any && unpack(any);
  if (unpacked === undefined) return undefined;
  if (unpacked.kind !== "message" || unpacked.schema.typeName !== HttpConnectionManagerSchema.typeName) {
    at.field("typed_config").refuse("only the HttpConnectionManager is supported");
    return undefined;
  }
  return { message: unpacked.message as HttpConnectionManager, place: at.field("typed_config") };
}

function typedConfig({ configType }: Pick<Filter, "configType">, place: Place): Any | undefined {
  if (configType.case === "typedConfig") return configType.value;
  place.refuse("typed_config must be set");
  return undefined;
}

function compileRoutes(
  http: HttpConnectionManager,
  listenerName: string,
  place: Place,
): { readonly name: string; readonly inline: RouteTable | undefined } {
  const { routeSpecifier: specifier } = http;
  switch (specifier.case) {
    case "rds": {
      const { routeConfigName, configSource } = specifier.value;
      const source = configSource?.configSourceSpecifier.case;
      if (source !== "ads" && source !== "self") {
        place.field("rds").field("config_source").refuse("only ads is supported");
      }
      if (routeConfigName === "") place.field("rds").field("route_config_name").refuse("must not be empty");
      return { name: routeConfigName, inline: undefined };
    }
    case "routeConfig": {
      const compiled = compileRouteConfiguration(specifier.value);
      // A name of its own: two listeners may bring tables of one name, and RDS has its own names.
      const name = `inline:${listenerName}`;
      if (compiled.ok) return { name, inline: compiled.value };
      for (const { field, message } of compiled.problems) place.field("route_config").field(field).refuse(message);
      return { name, inline: undefined };
    }
    default:
      place.refuse("one of rds, route_config must be set");
      return { name: "", inline: undefined };
  }
}
