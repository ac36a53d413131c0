import { createHash } from "node:crypto";

import { toBinary } from "@bufbuild/protobuf";
import type { Any } from "@bufbuild/protobuf/wkt";

import { type Filter, type FilterChain, FilterChainSchema } from "#envoy/config/listener/v3/listener_components_pb.ts";
import {
  type ConnectionLimit as ConnectionLimitConfig,
  ConnectionLimitSchema,
} from "#envoy/extensions/filters/network/connection_limit/v3/connection_limit_pb.ts";
import {
  type HttpConnectionManager,
  HttpConnectionManagerSchema,
} from "#envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.ts";
import { unpack } from "#proto/registry.ts";

import { durationMs, type Place } from "../compile.ts";
import { compileFilters } from "../filters/compile.ts";
import { compileAccessLogs } from "../observe/compile.ts";
import type { LogSinks } from "../observe/file-sink.ts";
import { compileTracing } from "../observe/trace/compile.ts";
import { compileRouteConfiguration } from "../route/compile.ts";
import type { RouteTable } from "../route/route.ts";
import { compileHttpOptions } from "./compile-http.ts";
import { compileDownstreamTls } from "./compile-tls.ts";
import { compileBodyRates } from "./compile-body-rates.ts";
import type { ConnectionLimit, FilterChainOptions } from "./options.ts";

/** Compiles a FilterChain, without its match. Undefined: a problem was reported. */
export function compileChain(chain: FilterChain, sinks: LogSinks, place: Place): FilterChainOptions | undefined {
  const limits = chain.filters.slice(0, -1);
  const connectionLimits = limits.map((filter, index) => connectionLimit(filter, place.item("filters", index)));
  const manager = connectionManager(chain, place);
  const tls = compileDownstreamTls(chain, place);
  if (manager === undefined) return undefined;
  const { message: http, place: at } = manager;
  const filters = compileFilters(http.httpFilters, at);
  return {
    id: createHash("sha256").update(toBinary(FilterChainSchema, chain)).digest("base64"),
    tls,
    connectionLimits,
    http: {
      ...compileHttpOptions(http, at),
      bodyRates: compileBodyRates(chain, place),
      ...(filters !== undefined && { filters }),
      ...compileRoutes(http, at),
      accessLogs: compileAccessLogs(http.accessLog, sinks, at),
      tracing: compileTracing(http.tracing, sinks.exporters, at.field("tracing")),
    },
  };
}

function connectionLimit(filter: Filter, place: Place): ConnectionLimit {
  const any = typedConfig(filter, place);
  const unpacked = any && unpack(any);
  const at = place.field("typed_config");
  if (unpacked?.kind !== "message" || unpacked.schema.typeName !== ConnectionLimitSchema.typeName) {
    at.refuse("before the HttpConnectionManager only ConnectionLimit is supported");
    return { connectionsMax: 0, statPrefix: "" };
  }
  const { maxConnections = 0n, delay, statPrefix } = unpacked.message as ConnectionLimitConfig;
  if (durationMs(delay, 0) > 0) at.field("delay").refuse("not supported: connections above the limit close at once");
  return { connectionsMax: Number(maxConnections), statPrefix };
}

function connectionManager(
  { filters }: FilterChain,
  place: Place,
): { readonly message: HttpConnectionManager; readonly place: Place } | undefined {
  const filter = filters.at(-1);
  if (filter === undefined) {
    place.field("filters").refuse("must end with the HttpConnectionManager");
    return undefined;
  }
  const at = place.item("filters", filters.length - 1);
  const any = typedConfig(filter, at);
  const unpacked = any && unpack(any);
  if (unpacked === undefined) return undefined;
  if (unpacked.kind !== "message" || unpacked.schema.typeName !== HttpConnectionManagerSchema.typeName) {
    at.field("typed_config").refuse("the last network filter must be the HttpConnectionManager");
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
  place: Place,
): { readonly routeConfigName: string; readonly inlineRoutes: RouteTable | undefined } {
  const { routeSpecifier: specifier } = http;
  switch (specifier.case) {
    case "rds": {
      const { routeConfigName, configSource } = specifier.value;
      const source = configSource?.configSourceSpecifier.case;
      if (source !== "ads" && source !== "self") {
        place.field("rds").field("config_source").refuse("only ads is supported");
      }
      if (routeConfigName === "") place.field("rds").field("route_config_name").refuse("must not be empty");
      return { routeConfigName, inlineRoutes: undefined };
    }
    case "routeConfig": {
      const compiled = compileRouteConfiguration(specifier.value);
      if (compiled.ok) return { routeConfigName: specifier.value.name, inlineRoutes: compiled.value };
      for (const { field, message } of compiled.problems) place.field("route_config").field(field).refuse(message);
      return { routeConfigName: "", inlineRoutes: undefined };
    }
    default:
      place.refuse("one of rds, route_config must be set");
      return { routeConfigName: "", inlineRoutes: undefined };
  }
}
