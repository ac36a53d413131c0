/** Answers that the proxies give themselves: status, body, fields, response flags and details must be alike, and so must local_reply_config. */
import type { JsonObject } from "@bufbuild/protobuf";
import { afterAll, beforeAll, expect, test } from "vitest";

import { type HostileOrigin, startHostileOrigin } from "../support/hostile-origin.ts";
import type { Answer, Ask } from "../support/http.ts";
import { freePort } from "../support/ports.ts";
import { type Manager, startTwins, type Twins } from "../support/twins.ts";
import { startUpstream, type Upstream } from "../support/upstream.ts";

let upstream: Upstream;
let hostile: HostileOrigin;
let twins: Twins;

const FILE = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog";
const accessLog = [
  {
    name: "file",
    typedConfig: {
      "@type": FILE,
      path: "$LOG/replies.log",
      logFormat: {
        textFormatSource: {
          inlineString:
            "%REQ(x-case)% %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_FLAGS_LONG% %RESPONSE_CODE_DETAILS%\n",
        },
      },
    },
  },
];
const to = (cluster: string, more: JsonObject = {}): JsonObject => ({ route: { cluster, ...more } });
const routeConfig: JsonObject = {
  name: "table",
  virtualHosts: [
    {
      name: "all",
      domains: ["all.test"],
      routes: [
        { match: { prefix: "/dead" }, ...to("dead") },
        { match: { prefix: "/empty" }, ...to("empty") },
        { match: { prefix: "/unknown" }, route: { clusterHeader: "x-cluster" } },
        {
          match: { prefix: "/unknown-404" },
          route: { clusterHeader: "x-cluster", clusterNotFoundResponseCode: "NOT_FOUND" },
        },
        { match: { prefix: "/slow" }, ...to("up", { timeout: "0.2s" }) },
        { match: { prefix: "/idle" }, ...to("up", { idleTimeout: "0.2s", timeout: "0s" }) },
        {
          match: { prefix: "/try" },
          ...to("up", { retryPolicy: { retryOn: "5xx", numRetries: 1, perTryTimeout: "0.1s" } }),
        },
        { match: { prefix: "/retry" }, ...to("dead", { retryPolicy: { retryOn: "connect-failure", numRetries: 1 } }) },
        { match: { prefix: "/full" }, ...to("full") },
        { match: { prefix: "/direct" }, directResponse: { status: 200, body: { inlineString: "hello" } } },
        { match: { prefix: "/empty-direct" }, directResponse: { status: 403 } },
        { match: { prefix: "/redirect" }, redirect: { hostRedirect: "other.test" } },
        { match: { prefix: "/up" }, ...to("up") },
      ],
    },
  ],
};

const header = (name: string, exact: string) => ({ headerFilter: { header: { name, stringMatch: { exact } } } });
const status = (op: string, value: number) => ({
  statusCodeFilter: { comparison: { op, value: { defaultValue: value, runtimeKey: "none" } } },
});
const localReplyConfig: JsonObject = {
  mappers: [
    {
      filter: { responseFlagFilter: { flags: ["UF", "NC"] } },
      statusCode: 500,
      body: { inlineString: "no connection" },
      headersToAdd: [{ header: { key: "x-mapped", value: "%RESPONSE_FLAGS% %RESPONSE_CODE%" } }],
    },
    {
      filter: { andFilter: { filters: [status("GE", 400), status("LE", 404), header("x-json", "1")] } },
      bodyFormatOverride: {
        jsonFormat: {
          status: "%RESPONSE_CODE%",
          text: "%LOCAL_REPLY_BODY%",
          path: "%REQ(:path)%",
          missing: "%REQ(x-none)%",
          nested: { flags: "%RESPONSE_FLAGS%", mixed: "code %RESPONSE_CODE%" },
        },
        contentType: "application/problem+json",
      },
    },
    { filter: { orFilter: { filters: [status("EQ", 200), status("EQ", 504)] } }, statusCode: 599 },
    {
      filter: { responseFlagFilter: {} },
      bodyFormatOverride: { textFormatSource: { inlineString: "<b>%LOCAL_REPLY_BODY%</b>" }, contentType: "text/html" },
    },
  ],
  bodyFormat: { textFormatSource: { inlineString: "%RESPONSE_CODE%: %LOCAL_REPLY_BODY% (%REQ(x-none)%)\n" } },
};

beforeAll(async () => {
  upstream = await startUpstream("only");
  hostile = await startHostileOrigin();
  const common: Manager = { routeConfig, accessLog, generateRequestId: false };
  twins = await startTwins({
    clusters: {
      up: upstream.port,
      dead: await freePort(),
      empty: { type: "STATIC", loadAssignment: { clusterName: "empty" } },
      full: {
        type: "STATIC",
        circuitBreakers: { thresholds: [{ maxRequests: 0 }] },
        loadAssignment: {
          clusterName: "full",
          endpoints: [
            {
              lbEndpoints: [
                { endpoint: { address: { socketAddress: { address: "127.0.0.1", portValue: upstream.port } } } },
              ],
            },
          ],
        },
      },
    },
    listeners: {
      plain: common,
      mapped: { ...common, localReplyConfig },
      json: {
        ...common,
        localReplyConfig: { bodyFormat: { jsonFormat: { code: "%RESPONSE_CODE%", body: "%LOCAL_REPLY_BODY%" } } },
      },
      edge: { ...common, useRemoteAddress: true, normalizePath: true, pathWithEscapedSlashesAction: "REJECT_REQUEST" },
    },
  });
});

afterAll(async () => {
  await twins?.stop();
  await upstream?.close();
  await hostile?.close();
});

/** After all timeouts, however long a machine stands still. */
const NEVER_MS = "600000";
const cases: Record<string, Ask> = {
  "no host": { headers: { host: "none.test" } },
  "no route": { path: "/none" },
  "no connection": { path: "/dead" },
  "no connection after a retry": { path: "/retry" },
  "no endpoint": { path: "/empty" },
  "no cluster": { path: "/unknown", headers: { "x-cluster": "none" } },
  "no cluster named": { path: "/unknown" },
  "no cluster, 404": { path: "/unknown-404", headers: { "x-cluster": "none" } },
  overflow: { path: "/full" },
  "route timeout": { path: "/slow", headers: { "x-test-delay-ms": NEVER_MS } },
  "try timeout": { path: "/try", headers: { "x-test-delay-ms": NEVER_MS } },
  "stream idle": { path: "/idle", headers: { "x-test-delay-ms": NEVER_MS } },
  "reset by upstream": { path: "/up", headers: { "x-test-abort": "1" } },
  direct: { path: "/direct" },
  "direct without body": { path: "/empty-direct" },
  redirect: { path: "/redirect" },
  "escaped slash": { path: "/up%2fx" },
  "upgrade not allowed": { path: "/up", headers: { connection: "upgrade", upgrade: "websocket" } },
  "as JSON": { path: "/none", headers: { "x-json": "1" } },
  "not ours": { path: "/up", headers: { "x-test-status": "404", "x-test-length": "3" } },
};

const listeners = ["plain", "mapped", "json", "edge"];

test.each(listeners)("%s", async (listener) => {
  for (const [name, request] of Object.entries(cases)) {
    const { native, envoy } = await twins.ask(listener, {
      ...request,
      headers: { host: "all.test", "x-case": `${listener}-${name.replaceAll(" ", "-")}`, ...request.headers },
    });
    expect(comparable(native), name).toEqual(comparable(envoy));
  }
});

test("flags and details are alike in the log", async () => {
  const count = listeners.length * Object.keys(cases).length;
  const { native, envoy } = await twins.lines("replies.log", count);
  // What the system's error is called, and the transport's words, are not ours to copy.
  const sorted = (lines: string[]) => lines.map((line) => line.replace(/\|[^}]*/, "")).toSorted();
  expect(sorted(native)).toEqual(sorted(envoy));
});

function comparable({ status, headers, body }: Answer): unknown {
  const { date: _, "x-envoy-upstream-service-time": __, ...rest } = headers;
  const text = body.replace(/\. (reset reason|retried and the latest reset reason): .*?(?=[<"\n)]|$)/s, ". reason");
  const { "content-length": ___, ...others } = rest;
  // The members of a Struct have no order.
  if (text.startsWith("{")) return { status, headers: rest, body: JSON.parse(text) };
  return { status, headers: text === body ? rest : others, body: text };
}
