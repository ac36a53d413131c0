/** Collectors behind TLS: what is sent to them is encrypted, with our certificate, and only to who they should be. */
import type { JsonObject } from "@bufbuild/protobuf";
import { afterAll, beforeAll, expect, test } from "vitest";

import { TestAuthority } from "../support/certificates.ts";
import { type Collector, startCollector } from "../support/collector.ts";
import { inlineCertificate } from "../support/json-listener.ts";
import { type Manager, startTwins, type Twins } from "../support/twins.ts";
import { waitFor } from "../support/wait.ts";

const authority = new TestAuthority();
const strangers = new TestAuthority("strangers");
const client = authority.issue({ name: "proxy" });
const cleanup = new AsyncDisposableStack();
const collectors = new Map<string, Collector>();
let twins: Twins;

const routeConfig: JsonObject = {
  name: "table",
  virtualHosts: [
    { name: "all", domains: ["*"], routes: [{ match: { prefix: "/" }, directResponse: { status: 200 } }] },
  ],
};
const OTEL = "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig";

/** A cluster of one collector that must be collector.test by our authority. */
const cluster = (name: string, port: number, http2: boolean): JsonObject => ({
  type: "STATIC",
  connectTimeout: "60s",
  loadAssignment: {
    clusterName: name,
    endpoints: [
      { lbEndpoints: [{ endpoint: { address: { socketAddress: { address: "127.0.0.1", portValue: port } } } }] },
    ],
  },
  transportSocket: {
    name: "envoy.transport_sockets.tls",
    typedConfig: {
      "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
      sni: "collector.test",
      commonTlsContext: {
        tlsCertificates: [inlineCertificate(client)],
        validationContext: {
          trustedCa: { inlineString: authority.cert },
          matchTypedSubjectAltNames: [{ sanType: "DNS", matcher: { exact: "collector.test" } }],
        },
      },
    },
  },
  ...(http2 && {
    typedExtensionProtocolOptions: {
      "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        explicitHttpConfig: { http2ProtocolOptions: {} },
      },
    },
  }),
});

/** Sends its log by gRPC, and traces by gRPC or HTTP, to a collector. */
const sending = (collector: string, http: boolean): Manager => ({
  routeConfig,
  accessLog: [
    {
      name: "grpc",
      typedConfig: {
        "@type": "type.googleapis.com/envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig",
        commonConfig: {
          logName: "requests",
          grpcService: { envoyGrpc: { clusterName: `${collector}-grpc` }, timeout: "60s" },
          transportApiVersion: "V3",
          bufferFlushInterval: "0.1s",
        },
      },
    },
  ],
  tracing: {
    provider: {
      name: "tracer",
      typedConfig: {
        "@type": OTEL,
        serviceName: "shop",
        ...(http
          ? {
              httpService: {
                httpUri: { uri: "https://collector.test/v1/traces", cluster: `${collector}-http`, timeout: "60s" },
              },
            }
          : { grpcService: { envoyGrpc: { clusterName: `${collector}-grpc` }, timeout: "60s" } }),
      },
    },
  },
});

beforeAll(async () => {
  cleanup.defer(() => {
    authority[Symbol.dispose]();
    strangers[Symbol.dispose]();
  });
  const shown = {
    meant: authority.issue({ name: "collector", altNames: ["DNS:collector.test"] }),
    other: authority.issue({ name: "collector", altNames: ["DNS:other.test"] }),
    strange: strangers.issue({ name: "collector", altNames: ["DNS:collector.test"] }),
  };
  const clusters: Record<string, JsonObject> = {};
  for (const [name, certificate] of Object.entries(shown)) {
    const collector = await startCollector({ ...certificate, clientCa: authority.cert });
    cleanup.defer(() => collector.close());
    collectors.set(name, collector);
    clusters[`${name}-grpc`] = cluster(`${name}-grpc`, collector.grpcPort, true);
    clusters[`${name}-http`] = cluster(`${name}-http`, collector.httpPort, false);
  }
  const listeners: Record<string, Manager> = {};
  for (const name of Object.keys(shown)) {
    listeners[`${name} by gRPC`] = sending(name, false);
    listeners[`${name} by HTTP`] = sending(name, true);
  }
  twins = await startTwins({ clusters, listeners });
  cleanup.defer(() => twins.stop());
});

afterAll(() => cleanup.disposeAsync());

const received = (name: string) => {
  const { logs = [], exports = [], posts = [] } = collectors.get(name) ?? {};
  const nodes = logs.filter(({ entries }) => entries.length > 0).map(({ nodeId }) => nodeId);
  return { nodes: [...new Set(nodes)].sort(), spans: exports.length, posts: posts.length };
};

test("who collectors should be gets logs and spans from both, by gRPC and HTTP", async () => {
  for (const listener of ["meant by gRPC", "meant by HTTP"]) {
    const { native, envoy } = await twins.ask(listener, {});
    expect([native.status, envoy.status]).toEqual([200, 200]);
  }
  await waitFor("logs and spans of both", () => {
    const { nodes, spans, posts } = received("meant");
    return nodes.join() === "envoy,native" && spans >= 2 && posts >= 2;
  });
});

test.each(["other", "strange"])("whoever else answers gets nothing: %s", async (name) => {
  for (const listener of [`${name} by gRPC`, `${name} by HTTP`]) await twins.ask(listener, {});
  await waitFor(
    "the native proxy to give spans up",
    async () => {
      const { native } = await twins.stats();
      return Number(native.get("tracing.opentelemetry.spans_dropped")) >= (name === "other" ? 2 : 4);
    },
    60_000,
  );
  expect(received(name)).toEqual({ nodes: [], spans: 0, posts: 0 });
});
