/** typed_per_filter_config and HttpFilter.disabled: which filters take part in which requests, seen by what gRPC-Web makes of a request. */
import type { JsonObject } from "@bufbuild/protobuf";
import { afterAll, beforeAll, expect, test } from "vitest";

import { TestServer } from "../support/data-path.ts";
import { startTwins, type Twins } from "../support/twins.ts";

const cleanup = new AsyncDisposableStack();
let twins: Twins;

const FILTER = "web";
const filterConfig = (more: JsonObject = {}): JsonObject => ({
  "@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig",
  ...more,
});
const off = { typedPerFilterConfig: { [FILTER]: filterConfig({ disabled: true }) } };
const on = { typedPerFilterConfig: { [FILTER]: filterConfig({ config: {} }) } };
const another = { typedPerFilterConfig: { other: filterConfig({ disabled: true }) } };

const virtualHost = (name: string, more: JsonObject = {}): JsonObject => ({
  name,
  domains: [`${name}.test`],
  routes: Object.entries({ off, on, another, nothing: {} }).map(([path, switches]) => ({
    match: { prefix: `/${path}` },
    route: { cluster: "up" },
    ...switches,
  })),
  ...more,
});

const manager = (disabled: boolean, more: JsonObject = {}): JsonObject => ({
  httpFilters: [
    {
      name: FILTER,
      disabled,
      typedConfig: { "@type": "type.googleapis.com/envoy.extensions.filters.http.grpc_web.v3.GrpcWeb" },
    },
    {
      name: "router",
      typedConfig: { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" },
    },
  ],
  routeConfig: {
    name: "table",
    virtualHosts: [virtualHost("plain"), virtualHost("off", off), virtualHost("on", on)],
    ...more,
  },
});

beforeAll(async () => {
  const origin = cleanup.use(
    await TestServer.http((request, response) => {
      request.resume().on("end", () => {
        response.setHeader("x-seen", request.headers["content-type"] ?? "");
        response.end();
      });
    }),
  );
  twins = await startTwins({
    clusters: { up: origin.port },
    listeners: { enabled: manager(false), disabled: manager(true), "off by table": manager(false, off) },
  });
  cleanup.defer(() => twins.stop());
});

afterAll(() => cleanup.disposeAsync());

const cases = ["enabled", "disabled", "off by table"].flatMap((listener) =>
  ["plain", "off", "on"].map((host) => [listener, host] as const),
);

test.each(cases)("the filter is %s, virtual host %s", async (listener, host) => {
  const seen: Record<"native" | "envoy", Record<string, unknown>> = { native: {}, envoy: {} };
  for (const path of ["off", "on", "another", "nothing"]) {
    const headers = { host: `${host}.test`, "content-type": "application/grpc-web+proto" };
    const answers = await twins.ask(listener, { method: "POST", path: `/${path}`, headers });
    for (const side of ["native", "envoy"] as const) seen[side][path] = answers[side].headers["x-seen"];
  }
  expect(seen.native).toEqual(seen.envoy);
  expect(seen.native["off"]).toBe("application/grpc-web+proto");
  expect(seen.native["on"]).toMatch(/^application\/grpc(\+proto)?$/);
});
