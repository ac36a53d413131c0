/** Listeners made ready for use: Envoy's defaults, and what is refused. */
import { create } from "@bufbuild/protobuf";
import { anyPack } from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";

import { ListenerSchema } from "#envoy/config/listener/v3/listener_pb.ts";
import { FileAccessLogSchema } from "#envoy/extensions/access_loggers/file/v3/file_pb.ts";
import { CorsSchema } from "#envoy/extensions/filters/http/cors/v3/cors_pb.ts";
import { RouterSchema } from "#envoy/extensions/filters/http/router/v3/router_pb.ts";
import { HttpConnectionManagerSchema } from "#envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.ts";
import type { HttpFilterSchema } from "#envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.ts";

import type { Init } from "../../test/support/message-init.ts";
import { requestHead } from "../../test/support/request-head.ts";
import { LogSinks } from "../observe/file-sink.ts";
import { compileListener } from "./compile.ts";

type Manager = Init<typeof HttpConnectionManagerSchema>;

const router: Init<typeof HttpFilterSchema> = {
  name: "router",
  configType: { case: "typedConfig", value: anyPack(RouterSchema, create(RouterSchema)) },
};
const cors: Init<typeof HttpFilterSchema> = {
  name: "cors",
  configType: { case: "typedConfig", value: anyPack(CorsSchema, create(CorsSchema)) },
};

function compile(manager: Manager, listener: Init<typeof ListenerSchema> = {}) {
  const message = create(HttpConnectionManagerSchema, {
    statPrefix: "http",
    routeSpecifier: {
      case: "rds",
      value: { routeConfigName: "routes", configSource: { configSourceSpecifier: { case: "ads", value: {} } } },
    },
    httpFilters: [router],
    ...manager,
  });
  return compileListener(
    create(ListenerSchema, {
      name: "http",
      address: {
        address: {
          case: "socketAddress",
          value: { address: "127.0.0.1", portSpecifier: { case: "portValue", value: 9080 } },
        },
      },
      filterChains: [
        {
          filters: [
            {
              name: "hcm",
              configType: { case: "typedConfig", value: anyPack(HttpConnectionManagerSchema, message) },
            },
          ],
        },
      ],
      ...listener,
    }),
    new LogSinks(),
  );
}

function options(manager: Manager = {}) {
  const compiled = compile(manager);
  if (!compiled.ok) throw new Error(JSON.stringify(compiled.problems));
  const [chain] = compiled.value.chains;
  if (chain === undefined) throw new Error("no filter chain");
  return { options: { ...compiled.value, http: chain.http }, inlineRoutes: chain.http.inlineRoutes };
}

// The table of proxy-parity, part 4.
test("defaults are Envoy's", () => {
  // As much as the kernel allows, as with Envoy.
  expect(options().options.backlog).toBeGreaterThanOrEqual(4096);
  expect(options().options).toMatchObject({
    name: "http",
    address: "127.0.0.1",
    port: 9080,
    http: {
      routeConfigName: "routes",
      serverName: "envoy",
      serverHeader: "overwrite",
      maxRequestHeadersKb: 60,
      maxHeadersCount: 100,
      connectionIdleTimeoutMs: 3_600_000,
      streamIdleTimeoutMs: 300_000,
      requestTimeoutMs: 0,
      requestHeadersTimeoutMs: 0,
      delayedCloseTimeoutMs: 1_000,
      headersWithUnderscores: "allow",
      normalizePath: false,
      mergeSlashes: false,
      escapedSlashes: "keep",
      useRemoteAddress: false,
      generateRequestId: true,
      accessLogs: [],
    },
  });
});

test("a listener may bring its routes along", () => {
  const { inlineRoutes } = options({
    routeSpecifier: {
      case: "routeConfig",
      value: {
        name: "routes",
        virtualHosts: [
          {
            name: "all",
            domains: ["*"],
            routes: [
              {
                match: { pathSpecifier: { case: "prefix", value: "/" } },
                action: { case: "directResponse", value: { status: 204 } },
              },
            ],
          },
        ],
      },
    },
  });
  expect(inlineRoutes?.match(requestHead())?.virtualHost).toBe("all");
});

test("filters that are optional and unknown are left out", () => {
  expect(compile({ httpFilters: [{ ...cors, isOptional: true }, router] }).ok).toBe(true);
});

const manager = "filter_chains[0].filters[0].typed_config";
test.each<[string, Manager, string]>([
  ["no filters", { httpFilters: [] }, `${manager}.http_filters`],
  ["a filter that is not supported", { httpFilters: [cors, router] }, `${manager}.http_filters[0]`],
  ["the router before the end", { httpFilters: [router, router] }, `${manager}.http_filters[0]`],
  [
    "a router without statistics",
    {
      httpFilters: [
        {
          name: "router",
          configType: {
            case: "typedConfig",
            value: anyPack(RouterSchema, create(RouterSchema, { dynamicStats: false })),
          },
        },
      ],
    },
    `${manager}.http_filters[0].typed_config.dynamic_stats`,
  ],
  ["HTTP/3", { codecType: 3 }, `${manager}.codec_type`],
  [
    "a problem in routes that it brings along",
    { routeSpecifier: { case: "routeConfig", value: { virtualHosts: [{ name: "a" }] } } },
    `${manager}.route_config.virtual_hosts[0].domains`,
  ],
  [
    "an access log nowhere",
    {
      accessLog: [
        {
          configType: {
            case: "typedConfig",
            value: anyPack(FileAccessLogSchema, create(FileAccessLogSchema, { path: "/nowhere/a.log" })),
          },
        },
      ],
    },
    `${manager}.access_log[0].typed_config.path`,
  ],
  [
    "an operator that is not known",
    {
      accessLog: [
        {
          configType: {
            case: "typedConfig",
            value: anyPack(
              FileAccessLogSchema,
              create(FileAccessLogSchema, {
                path: "/dev/stdout",
                accessLogFormat: {
                  case: "logFormat",
                  value: { format: { case: "jsonFormat", value: { status: "%NOPE%" } } },
                },
              }),
            ),
          },
        },
      ],
    },
    `${manager}.access_log[0].typed_config.log_format.json_format.status`,
  ],
])("%s: refused", (_, message, field) => {
  const compiled = compile(message);
  expect(compiled.ok ? [] : compiled.problems.map((problem) => problem.field)).toEqual([field]);
});

test("no filter chain, or two with the same match: refused", () => {
  const chain = options().options;
  expect(chain.table).toBeUndefined();
  const none = compile({}, { filterChains: [] });
  expect(none.ok ? [] : none.problems.map(({ field }) => field)).toEqual(["filter_chains"]);
});
