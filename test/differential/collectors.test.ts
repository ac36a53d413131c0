/** gRPC access logs and traces: collectors must be told the same by both data planes, and the upstream must be told the same of the trace. */
import { type JsonObject, fromBinary, toJson } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { HTTPAccessLogEntrySchema } from "#envoy/data/accesslog/v3/accesslog_pb.ts";
import {
  ExportTraceServiceRequestSchema,
  type ExportTraceServiceRequest,
  type Span,
} from "#proto/gen/opentelemetry/trace_pb.ts";

import { type Collector, startCollector } from "../support/collector.ts";
import type { Answer, Ask } from "../support/http.ts";
import { type Manager, startTwins, type Twins } from "../support/twins.ts";
import { type Echo, startUpstream, type Upstream } from "../support/upstream.ts";
import { waitFor } from "../support/wait.ts";

let upstream: Upstream;
let collector: Collector;
let twins: Twins;

/** What goes wrong is lost: no collector is given up because a machine stands still. */
const timeout = "60s";
const grpcService = { envoyGrpc: { clusterName: "collector" }, timeout };
const OTEL = "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig";
const ZIPKIN = "type.googleapis.com/envoy.config.trace.v3.ZipkinConfig";
const routeConfig: JsonObject = {
  name: "table",
  virtualHosts: [
    {
      name: "all",
      domains: ["*"],
      routes: [
        { name: "none", match: { path: "/none" }, directResponse: { status: 404, body: { inlineString: "none" } } },
        { name: "old", match: { prefix: "/old" }, route: { cluster: "up", prefixRewrite: "/new" } },
        { name: "all", match: { prefix: "/" }, route: { cluster: "up" } },
      ],
    },
  ],
};
const tracing = (provider: JsonObject, more: JsonObject = {}): Manager => ({
  routeConfig,
  tracing: { provider: { name: "tracer", typedConfig: provider }, ...more },
});
const otel = (more: JsonObject = {}): JsonObject => ({ "@type": OTEL, grpcService, serviceName: "shop", ...more });
const zipkin = (more: JsonObject = {}): JsonObject => ({
  "@type": ZIPKIN,
  collectorCluster: "http",
  collectorEndpoint: "/api/v2/spans",
  collectorEndpointVersion: "HTTP_JSON",
  ...more,
});

beforeAll(async () => {
  upstream = await startUpstream("only");
  collector = await startCollector();
  twins = await startTwins({
    clusters: { up: upstream.port, http: collector.httpPort },
    collectors: { collector: collector.grpcPort },
    listeners: {
      logged: {
        routeConfig,
        accessLog: [
          {
            name: "grpc",
            typedConfig: {
              "@type": "type.googleapis.com/envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig",
              commonConfig: {
                logName: "requests",
                grpcService,
                transportApiVersion: "V3",
                bufferFlushInterval: "0.1s",
              },
              additionalRequestHeadersToLog: ["X-Case", "x-none"],
              additionalResponseHeadersToLog: ["x-upstream"],
            },
          },
        ],
      },
      otel: tracing(otel(), {
        customTags: [
          { tag: "literal", literal: { value: "l" } },
          { tag: "header", requestHeader: { name: "X-Case" } },
          { tag: "default", requestHeader: { name: "x-none", defaultValue: "d" } },
          { tag: "missing", requestHeader: { name: "x-none" } },
          { tag: "env", environment: { name: "SLUICE_NOT_SET", defaultValue: "e" } },
        ],
      }),
      "otel, upstream spans": tracing(otel(), { spawnUpstreamSpan: true }),
      "otel over HTTP": tracing({
        "@type": OTEL,
        serviceName: "shop",
        httpService: {
          httpUri: { uri: "http://collector.test/v1/traces?x", cluster: "http", timeout },
          requestHeadersToAdd: [{ header: { key: "x-token", value: "t" } }],
        },
      }),
      "otel, nothing by chance": tracing(otel(), { randomSampling: { value: 0 } }),
      "otel, nothing at all": tracing(otel(), { overallSampling: { value: 0 } }),
      "otel, always": tracing(
        otel({
          sampler: {
            name: "on",
            typedConfig: {
              "@type": "type.googleapis.com/envoy.extensions.tracers.opentelemetry.samplers.v3.AlwaysOnSamplerConfig",
            },
          },
        }),
        { randomSampling: { value: 0 } },
      ),
      "otel, half": tracing(otel(), { randomSampling: { value: 50 } }),
      zipkin: tracing(zipkin()),
      "zipkin, own spans": tracing(zipkin({ sharedSpanContext: false, traceId128bit: true })),
      "zipkin, nothing by chance": tracing(zipkin(), { randomSampling: { value: 0 } }),
    },
  });
});

afterAll(async () => {
  await twins?.stop();
  await collector?.close();
  await upstream?.close();
});

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN = "00f067aa0ba902b7";
const id = (reason: string) => ({ "x-request-id": `0000000a-0000-${reason}000-8000-000000000000` });

describe("the access log service", () => {
  const cases: Record<string, Ask> = {
    plain: { path: "/a?q", headers: { ...id("4"), "user-agent": "me", referer: "here" } },
    direct: { path: "/none", headers: id("4") },
    rewritten: { path: "/old/x", method: "POST", body: "12345", headers: id("4") },
    failed: { path: "/a", headers: { ...id("4"), "x-test-status": "503" } },
  };

  test("gets the same entries", async () => {
    for (const [name, request] of Object.entries(cases)) {
      await twins.ask("logged", { ...request, headers: { host: "any.test", "x-case": name, ...request.headers } });
    }
    const entriesOf = (side: string) =>
      collector.logs
        .filter(({ nodeId, logName }) => nodeId === side && logName === "requests")
        .flatMap(({ entries }) => entries);
    const count = Object.keys(cases).length;
    const [native, envoy] = await waitFor("all entries", () => {
      const both = [entriesOf("native"), entriesOf("envoy")] as const;
      return both.every((entries) => entries.length >= count) ? both : undefined;
    });
    const shown = (entries: readonly (typeof native)[number][]) =>
      entries.map((entry) => settled(toJson(HTTPAccessLogEntrySchema, entry) as JsonObject));
    expect(shown(native)).toEqual(shown(envoy));
    const streams = collector.logs.filter(({ nodeId }) => nodeId === "native");
    expect(streams.map(({ identified }) => identified)).toEqual([1]);
  });
});

/** What we don't measure, and what differs from run to run. */
function settled(entry: JsonObject): unknown {
  const text = JSON.stringify(entry, (key, value: unknown) => {
    if (/^(time|duration|startTime)/.test(key) && typeof value === "string") {
      return /Upstream(Tx|Rx)Byte$/.test(key) && key !== "timeToFirstUpstreamRxByte" ? undefined : "a time";
    }
    if (/WireBytes|HeaderBytes|HeadersBytes|^customTags$/.test(key)) return undefined;
    return key === "portValue" ? "a port" : value;
  });
  return JSON.parse(text);
}

/** What the upstream saw of the trace, ids that were made up by their length. */
function propagated({ body }: Answer): Record<string, string> {
  const { headers } = JSON.parse(body) as Echo;
  // Envoy also says that there is no tracestate.
  const names = Object.keys(headers).filter(
    (name) => headers[name] !== "" && /^(traceparent|tracestate|b3|x-b3-.*|x-request-id)$/.test(name),
  );
  const made = (value: string) =>
    value
      .replace(/[0-9a-f]{8}-[0-9a-f]{4}-(.)[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}/g, "<$1>")
      .replace(/\b[0-9a-f]{32}\b|\b[0-9a-f]{16}\b/g, (one) =>
        one === TRACE || one === SPAN ? one : `<${one.length}>`,
      );
  return Object.fromEntries(names.sort().map((name) => [name, made(headers[name] ?? "")]));
}

const requests: Record<string, Record<string, string>> = {
  nothing: {},
  "a W3C parent": { traceparent: `00-${TRACE}-${SPAN}-01`, tracestate: "a=b" },
  "a W3C parent that is not sampled": { traceparent: `00-${TRACE}-${SPAN}-00` },
  "an id that says sampled": id("9"),
  "an id that says forced": id("a"),
  "an id of a low number": { "x-request-id": "00000001-0000-4000-8000-000000000000" },
  "an id of a high number": { "x-request-id": "0000270f-0000-4000-8000-000000000000" },
  "an id that is none": { "x-request-id": "mine" },
  "a client's trace id": { "x-client-trace-id": "c" },
  "B3 in several fields": { "x-b3-traceid": TRACE, "x-b3-spanid": SPAN, "x-b3-sampled": "1" },
  "B3 not sampled": { "x-b3-traceid": TRACE, "x-b3-spanid": SPAN, "x-b3-sampled": "0" },
  "B3 with a parent": { "x-b3-traceid": TRACE, "x-b3-spanid": SPAN, "x-b3-parentspanid": SPAN, "x-b3-sampled": "1" },
  "B3 in one field": { b3: `${TRACE}-${SPAN}-1` },
  "a B3 decision": { b3: "0" },
};

test.each([
  "otel",
  "otel, upstream spans",
  "otel, nothing by chance",
  "otel, nothing at all",
  "otel, always",
  "otel, half",
  "zipkin",
  "zipkin, own spans",
  "zipkin, nothing by chance",
])("%s: the upstream is told the same of the trace", async (listener) => {
  for (const [name, headers] of Object.entries(requests)) {
    // An id that is made up is drawn.
    if (listener === "otel, half" && headers["x-request-id"] === undefined) continue;
    const { native, envoy } = await twins.ask(listener, { headers: { host: "any.test", ...headers } });
    expect(propagated(native), name).toEqual(propagated(envoy));
  }
});

const nodeOf = (span: Span) => span.attributes.find(({ key }) => key === "node_id")?.value?.value.value;

/** What a span says, without times, ids and ports. */
const unlike = new Set(["response_size", "zone"]);
const spanOf = (span: Span) => ({
  kind: span.kind,
  name: span.name,
  status: span.status?.code,
  tags: Object.fromEntries(
    span.attributes
      .filter(({ key }) => !unlike.has(key))
      .toSorted((a, b) => (a.key < b.key ? -1 : 1))
      .map(({ key, value }) => [
        key,
        key === "node_id" || key.startsWith("peer") ? "x" : String(value?.value.value).replace(/:\d{4,5}/, ":<port>"),
      ]),
  ),
});

test("OTLP spans have Envoy's names and tags", async () => {
  for (const path of ["/a?marked", "/none?marked"]) {
    await twins.ask("otel", { path, headers: { host: "any.test", "user-agent": "me", "x-case": "1", ...id("4") } });
  }
  await twins.ask("otel", { path: "/a?marked", headers: { host: "any.test", "x-test-status": "503", ...id("4") } });
  const of = (side: string) =>
    spansOf(collector.exports).filter(
      (span) =>
        nodeOf(span) === side &&
        JSON.stringify(span.attributes.map((one) => one.value?.value.value)).includes("marked"),
    );
  const [native, envoy] = await waitFor("all spans", () => {
    const both = [of("native"), of("envoy")] as const;
    return both.every((spans) => spans.length >= 3) ? both : undefined;
  });
  expect(native.map(spanOf)).toEqual(envoy.map(spanOf));
});

const spansOf = (exports: readonly ExportTraceServiceRequest[]) =>
  exports.flatMap(({ resourceSpans }) =>
    resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap(({ spans }) => spans)),
  );

test("OTLP goes over HTTP, too", async () => {
  await twins.ask("otel over HTTP", { path: "/a", headers: { host: "any.test" } });
  const posts = await waitFor("both posts", () => {
    const found = collector.posts.filter(({ path }) => path === "/v1/traces?x");
    return found.length >= 2 ? found : undefined;
  });
  for (const { headers, body } of posts) {
    expect(headers).toMatchObject({ host: "collector.test", "content-type": "application/x-protobuf", "x-token": "t" });
    const [resource] = fromBinary(ExportTraceServiceRequestSchema, body).resourceSpans;
    expect(resource?.resource?.attributes.find(({ key }) => key === "service.name")?.value?.value.value).toBe("shop");
  }
});

test("Zipkin gets its JSON", async () => {
  const headers = { host: "any.test", "x-b3-traceid": TRACE, "x-b3-spanid": SPAN, "x-b3-sampled": "1" };
  await twins.ask("zipkin", { path: "/zipkin", headers });
  const of = (side: string) =>
    collector.posts
      .filter(({ path }) => path === "/api/v2/spans")
      .flatMap(({ body }) => JSON.parse(body.toString()) as Record<string, unknown>[])
      .filter(({ tags }) => (tags as Record<string, string>)["node_id"] === side)
      .filter(({ tags }) => (tags as Record<string, string>)["http.url"]?.endsWith("/zipkin") === true);
  const [native, envoy] = await waitFor("both spans", () => {
    const both = [of("native")[0], of("envoy")[0]] as const;
    return both.every((span) => span !== undefined) ? both : undefined;
  });
  const shown = ({ timestamp, duration, tags, localEndpoint, ...rest }: Record<string, unknown> = {}) => ({
    ...rest,
    // Envoy also notes when the answer was sent.
    annotations: undefined,
    times: [typeof timestamp, typeof duration],
    service: (localEndpoint as Record<string, string>)["serviceName"],
    tags: Object.keys(tags as object).sort(),
  });
  expect(shown(native)).toEqual(shown(envoy));
});
