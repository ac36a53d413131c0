/** Header mutations, host rewrites and redirects to https: the upstream and the client must see the same by both data planes. */
import type { JsonObject } from "@bufbuild/protobuf";
import { afterAll, beforeAll, expect, test } from "vitest";

import type { Answer, Ask } from "../support/http.ts";
import { freePort } from "../support/ports.ts";
import { startTwins, type Twins } from "../support/twins.ts";
import { type Echo, startUpstream, type Upstream } from "../support/upstream.ts";

let upstream: Upstream;
let twins: Twins;

const add = (key: string, value: string, appendAction = "APPEND_IF_EXISTS_OR_ADD", more: JsonObject = {}) => ({
  header: { key, value },
  appendAction,
  ...more,
});

/** What each level does, so that the order shows. */
const level = (name: string): JsonObject => ({
  requestHeadersToAdd: [
    add("x-order", name),
    add("x-last", name, "OVERWRITE_IF_EXISTS_OR_ADD"),
    add("x-first", name, "ADD_IF_ABSENT"),
    add("x-present", name, "OVERWRITE_IF_EXISTS"),
  ],
  requestHeadersToRemove: [`X-Remove-${name}`],
  responseHeadersToAdd: [
    add("x-order", name),
    add("x-last", name, "OVERWRITE_IF_EXISTS_OR_ADD"),
    add("x-upstream", name, "ADD_IF_ABSENT"),
  ],
});

const table = (mostSpecificHeaderMutationsWins: boolean): JsonObject => ({
  name: "table",
  mostSpecificHeaderMutationsWins,
  internalOnlyHeaders: ["x-internal-only"],
  ...level("table"),
  virtualHosts: [
    {
      name: "tls",
      domains: ["tls.test"],
      requireTls: "ALL",
      routes: [{ match: { prefix: "/" }, route: { cluster: "up" } }],
    },
    {
      name: "tls-external",
      domains: ["external.test"],
      requireTls: "EXTERNAL_ONLY",
      routes: [{ match: { prefix: "/" }, route: { cluster: "up" } }],
    },
    {
      name: "host",
      domains: ["*"],
      ...level("host"),
      routes: [
        { match: { prefix: "/grpc", grpc: {} }, route: { cluster: "up", prefixRewrite: "/matched" } },
        {
          match: { prefix: "/values" },
          route: { cluster: "up", prefixRewrite: "/rewritten" },
          name: "values",
          requestHeadersToAdd: [
            add("x-path", "%REQ(:PATH)%"),
            add("x-mixed", "a %REQ(x-one?x-two)% 100%% %PROTOCOL%"),
            add("x-missing", "%REQ(x-none)%"),
            add("x-kept", "%REQ(x-none)%", "APPEND_IF_EXISTS_OR_ADD", { keepEmptyValue: true }),
            add("x-cut", "%REQ(x-one):3%"),
            add("x-route", "%ROUTE_NAME%"),
            add("x-utf8", "zürich"),
          ],
          responseHeadersToAdd: [
            add("x-method", "%REQ(:METHOD)%"),
            add("x-status", "%RESPONSE_CODE%"),
            add("x-was", "%RESP(x-upstream)%"),
            add("x-cluster", "%UPSTREAM_CLUSTER%"),
          ],
          responseHeadersToRemove: ["x-upstream"],
        },
        {
          match: { prefix: "/weighted" },
          route: {
            weightedClusters: {
              clusters: [{ name: "up", weight: 1, ...level("cluster"), hostRewriteLiteral: "weighted.test" }],
            },
          },
          ...level("route"),
        },
        { match: { prefix: "/literal" }, route: { cluster: "up", hostRewriteLiteral: "literal.test" } },
        {
          match: { prefix: "/header" },
          route: { cluster: "up", hostRewriteHeader: "x-host", appendXForwardedHost: true },
        },
        {
          match: { prefix: "/regex" },
          route: {
            cluster: "up",
            hostRewritePathRegex: { pattern: { regex: "^/regex/([a-z]+)/.*$" }, substitution: "\\1.test" },
            appendXForwardedHost: true,
          },
        },
        {
          match: { prefix: "/direct" },
          directResponse: { status: 418, body: { inlineString: "tea" } },
          ...level("route"),
        },
        { match: { prefix: "/redirect" }, redirect: { pathRedirect: "/there" }, ...level("route") },
        { match: { prefix: "/no-cluster" }, route: { cluster: "up2", timeout: "0s" }, ...level("route") },
        { match: { prefix: "/" }, route: { cluster: "up" }, ...level("route") },
      ],
    },
  ],
});

beforeAll(async () => {
  upstream = await startUpstream("only");
  twins = await startTwins({
    clusters: { up: upstream.port, up2: await freePort() },
    listeners: {
      outer: { useRemoteAddress: true, routeConfig: table(false) },
      specific: { useRemoteAddress: true, routeConfig: table(true) },
    },
  });
});

afterAll(async () => {
  await twins?.stop();
  await upstream?.close();
});

/** Without what is random or a time. */
function comparable({ status, headers, body }: Answer): unknown {
  const { date: _, "x-envoy-upstream-service-time": __, "content-length": ___, ...rest } = headers;
  if (headers["content-type"] !== "application/json") return { status, headers: rest, body };
  const echo = JSON.parse(body) as Echo;
  const { "x-request-id": ____, "x-forwarded-for": _____, ...seen } = echo.headers;
  return { status, headers: rest, echo: { ...echo, headers: seen } };
}

const cases: Record<string, Ask> = {
  "the order of route, host and table": {},
  "what is there already": {
    headers: { "x-order": "client", "x-last": "client", "x-first": "client", "x-present": "client" },
  },
  "what is removed": { headers: { "x-remove-route": "1", "x-remove-host": "1", "x-remove-table": "1", "x-keep": "1" } },
  "values with operators": { path: "/values?q", headers: { "x-one": "abcdef" } },
  "values with an alternative": { path: "/values", headers: { "x-two": "second" } },
  "a weighted cluster's own": { path: "/weighted" },
  "a literal host": { path: "/literal" },
  "a host from a header": { path: "/header", headers: { "x-host": "from-header.test" } },
  "a host from a header, with a forwarded host": {
    path: "/header",
    headers: { "x-host": "from-header.test", "x-forwarded-host": "earlier.test" },
  },
  "a host from a header that is missing": { path: "/header" },
  "a host from the path": { path: "/regex/abc/rest?q" },
  "a direct response": { path: "/direct" },
  "a redirect": { path: "/redirect?q" },
  "a local reply": { path: "/no-cluster" },
  "a request that must use https": { path: "/a?b", headers: { host: "tls.test" } },
  "an external request that must use https": { path: "/a?b", headers: { host: "external.test:80" } },
  "a field for internal requests only": { headers: { "x-internal-only": "1" } },
  "gRPC asked for": { path: "/grpc", headers: { "content-type": "application/grpc+proto" } },
  "gRPC asked for and not there": { path: "/grpc", headers: { "content-type": "application/grpcx" } },
};

test.each(["outer", "specific"].flatMap((listener) => Object.keys(cases).map((name) => [listener, name] as const)))(
  "%s: %s",
  async (listener, name) => {
    const request = cases[name] as Ask;
    const { native, envoy } = await twins.ask(listener, {
      ...request,
      headers: { host: "any.test", ...request.headers },
    });
    expect(comparable(native)).toEqual(comparable(envoy));
  },
);
