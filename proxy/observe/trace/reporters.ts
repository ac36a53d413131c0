import type { OpenTelemetryConfig } from "#envoy/config/trace/v3/opentelemetry_pb.ts";
import type { HttpService } from "#envoy/config/core/v3/http_service_pb.ts";
import type { ZipkinConfig } from "#envoy/config/trace/v3/zipkin_pb.ts";

import { durationMs, type Place } from "../../compile.ts";
import { isFieldValue, isToken } from "../../http1/chars.ts";
import { Batcher } from "../export/batcher.ts";
import { type ExportContext, GrpcCollector, post } from "../export/collector.ts";
import { compileGrpcService, type Exporters } from "../export/exporters.ts";
import { encodeOtlp } from "./otlp.ts";
import type { Span } from "./span.ts";
import { encodeZipkin } from "./zipkin.ts";

/** Keys of trace exporters among a worker's exporters. */
const TRACES = { opentelemetry: "opentelemetry ", zipkin: "zipkin " } as const;

const OTLP_METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/** A span counts as so many bytes; what it has exactly is known when it is encoded. */
const SPAN_BYTES = 1024;
const BATCH_BYTES = 512 * SPAN_BYTES;
const WAITING_BYTES_MAX = 4096 * SPAN_BYTES;
const FLUSH_MS = 1_000;
const POST_MS_DEFAULT = 10_000;

type Send = (spans: readonly Span[]) => Promise<void>;

const batcher = (context: ExportContext, tracer: string, send: Send) =>
  new Batcher<Span>({
    stats: context.stats?.exported("tracing", tracer),
    batchBytes: BATCH_BYTES,
    flushMs: FLUSH_MS,
    waitingBytesMax: WAITING_BYTES_MAX,
    send,
  });

/** Sends spans by OTLP, over gRPC or HTTP; without either they go nowhere, as in Envoy. Undefined: a problem was reported. */
export function otlpReporter(
  { grpcService, httpService, serviceName }: OpenTelemetryConfig,
  exporters: Exporters,
  place: Place,
): ((span: Span) => void) | undefined {
  // Envoy's default, but for the program's name.
  const resource = { "service.name": serviceName || "unknown_service:sluice", "telemetry.sdk.name": "sluice" };
  const { context } = exporters;
  if (grpcService !== undefined && httpService !== undefined) {
    place.refuse("only one of grpc_service and http_service may be set");
    return undefined;
  }
  if (grpcService !== undefined) {
    const target = compileGrpcService(grpcService, place.field("grpc_service"));
    if (target === undefined) return undefined;
    const key = TRACES.opentelemetry + JSON.stringify({ target, resource });
    const exporter = exporters.outlets.get(key, () => {
      const collector = new GrpcCollector(context, target.cluster, target.authority);
      const batches = batcher(context, "opentelemetry", (spans) =>
        collector.unary(OTLP_METHOD, encodeOtlp(spans, resource), target.timeoutMs),
      );
      const close = () => batches.close().finally(() => collector.reset());
      return { add: (span: Span) => batches.add(span, SPAN_BYTES), close };
    });
    return exporter.add;
  }
  if (httpService === undefined) return () => {};
  const target = compileHttpService(httpService, place.field("http_service"));
  if (target === undefined) return undefined;
  const headers = { ...target.headers, "content-type": "application/x-protobuf" };
  const key = TRACES.opentelemetry + JSON.stringify({ target, resource });
  const exporter = exporters.outlets.get(key, () =>
    batcher(context, "opentelemetry", (spans) => post(context, target, headers, encodeOtlp(spans, resource))),
  );
  return (span) => exporter.add(span, SPAN_BYTES);
}

function compileHttpService({ httpUri, requestHeadersToAdd }: HttpService, place: Place) {
  const uri = URL.parse(httpUri?.uri ?? "");
  const cluster = httpUri?.httpUpstreamType.value ?? "";
  if (uri === null || cluster === "") {
    place.field("http_uri").refuse("must have a URI and a cluster");
    return undefined;
  }
  const headers: Record<string, string> = {};
  requestHeadersToAdd.forEach(({ header }, index) => {
    const { key = "", value = "" } = header ?? {};
    if (isToken(key) && isFieldValue(value)) headers[key.toLowerCase()] = value;
    else place.item("request_headers_to_add", index).refuse("is not a header field");
  });
  const timeoutMs = durationMs(httpUri?.timeout, 0) || POST_MS_DEFAULT;
  return { cluster, host: uri.host, path: uri.pathname + uri.search, timeoutMs, headers };
}

/** Sends spans to a Zipkin collector as JSON. */
export function zipkinReporter(config: ZipkinConfig, exporters: Exporters): (span: Span) => void {
  const { context } = exporters;
  const target = {
    cluster: config.collectorCluster,
    host: config.collectorHostname || config.collectorCluster,
    path: config.collectorEndpoint,
    timeoutMs: POST_MS_DEFAULT,
  };
  const headers = { "content-type": "application/json" };
  const exporter = exporters.outlets.get(TRACES.zipkin + JSON.stringify(target), () =>
    batcher(context, "zipkin", (spans) => post(context, target, headers, encodeZipkin(spans, context.node.cluster))),
  );
  return (span) => exporter.add(span, SPAN_BYTES);
}
