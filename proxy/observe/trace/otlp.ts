import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";

import {
  ExportTraceServiceRequestSchema,
  type KeyValueSchema,
  Span_SpanKind as Kind,
  type SpanSchema,
  Status_StatusCode as StatusCode,
} from "#proto/gen/opentelemetry/trace_pb.ts";

import type { Span } from "./span.ts";

const attribute = (key: string, value: string): MessageInitShape<typeof KeyValueSchema> => ({
  key,
  value: { value: { case: "stringValue", value } },
});

/** Spans as an OTLP collector takes them. `resource`: who made them. */
export function encodeOtlp(spans: readonly Span[], resource: Readonly<Record<string, string>>): Uint8Array {
  const attributes = Object.entries(resource).map(([key, value]) => attribute(key, value));
  return toBinary(
    ExportTraceServiceRequestSchema,
    create(ExportTraceServiceRequestSchema, {
      resourceSpans: [
        { resource: { attributes }, scopeSpans: [{ scope: { name: "sluice" }, spans: spans.map(spanOf) }] },
      ],
    }),
  );
}

function spanOf(span: Span): MessageInitShape<typeof SpanSchema> {
  return {
    traceId: Buffer.from(span.traceId.padStart(32, "0"), "hex"),
    spanId: Buffer.from(span.spanId, "hex"),
    parentSpanId: Buffer.from(span.parentSpanId, "hex"),
    traceState: span.tracestate,
    name: span.name,
    kind: span.kind === "server" ? Kind.SERVER : Kind.CLIENT,
    startTimeUnixNano: nanos(span.startMs),
    endTimeUnixNano: nanos(span.startMs + span.durationMs),
    attributes: span.tags.map(([name, value]) => attribute(name, value)),
    ...(span.failed && { status: { code: StatusCode.ERROR } }),
  };
}

/** A number of ms since 1970 has too few digits for ns, so whole µs are made of it. */
const nanos = (ms: number) => BigInt(Math.round(ms * 1000)) * 1000n;
