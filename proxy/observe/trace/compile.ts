import type { Tracing_Http } from "#envoy/config/trace/v3/http_tracer_pb.ts";
import { type OpenTelemetryConfig, OpenTelemetryConfigSchema } from "#envoy/config/trace/v3/opentelemetry_pb.ts";
import {
  type ZipkinConfig,
  ZipkinConfig_CollectorEndpointVersion as Version,
  ZipkinConfigSchema,
} from "#envoy/config/trace/v3/zipkin_pb.ts";
import { type HttpConnectionManager_Tracing as TracingMessage } from "#envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.ts";
import { AlwaysOnSamplerConfigSchema } from "#envoy/extensions/tracers/opentelemetry/samplers/v3/always_on_sampler_pb.ts";
import { unpack } from "#proto/registry.ts";

import type { Place } from "../../compile.ts";
import { fromWire } from "../../route/text.ts";
import type { Exporters } from "../export/exporters.ts";
import { otlpReporter, zipkinReporter } from "./reporters.ts";
import { b3, w3c } from "./propagation.ts";
import { compileTag } from "./tags.ts";
import type { TracingOptions } from "./tracing.ts";

/** Tracing: "Default: 256". */
const PATH_LENGTH_DEFAULT = 256;

type Provider = Pick<
  TracingOptions,
  "propagation" | "sampled" | "shareSpans" | "traceIdBytes" | "upstreamSpans" | "spanName" | "report"
>;

/** Compiles HttpConnectionManager.tracing. Undefined: nothing is traced. */
export function compileTracing(
  message: TracingMessage | undefined,
  exporters: Exporters,
  place: Place,
): TracingOptions | undefined {
  if (message === undefined) return undefined;
  const percent = (value: { value: number } | undefined, field: string) => {
    const share = value?.value ?? 100;
    if (!(share >= 0 && share <= 100)) place.field(field).field("value").refuse("must be within [0, 100]");
    return share;
  };
  const provider = compileProvider(message.provider, exporters, place.field("provider"));
  const tags = message.customTags.flatMap((tag, index) => compileTag(tag, place.item("custom_tags", index)) ?? []);
  return (
    provider && {
      ...provider,
      upstreamSpans: message.spawnUpstreamSpan ?? provider.upstreamSpans,
      clientPercent: percent(message.clientSampling, "client_sampling"),
      randomPercent: percent(message.randomSampling, "random_sampling"),
      overallPercent: percent(message.overallSampling, "overall_sampling"),
      nodeId: exporters.context.node.id,
      pathLengthMax: message.maxPathTagLength ?? PATH_LENGTH_DEFAULT,
      tags,
    }
  );
}

function compileProvider(provider: Tracing_Http | undefined, exporters: Exporters, place: Place): Provider | undefined {
  const config = provider?.configType.case === "typedConfig" ? unpack(provider.configType.value) : undefined;
  const at = place.field("typed_config");
  if (config?.kind === "message" && config.schema.typeName === OpenTelemetryConfigSchema.typeName) {
    return compileOpenTelemetry(config.message as OpenTelemetryConfig, exporters, at);
  }
  if (config?.kind === "message" && config.schema.typeName === ZipkinConfigSchema.typeName) {
    return compileZipkin(config.message as ZipkinConfig, exporters, at);
  }
  place.refuse("only envoy.tracers.opentelemetry and envoy.tracers.zipkin are supported");
  return undefined;
}

function compileOpenTelemetry(config: OpenTelemetryConfig, exporters: Exporters, place: Place): Provider | undefined {
  const sampler = config.sampler?.typedConfig && unpack(config.sampler.typedConfig);
  const alwaysOn = sampler?.kind === "message" && sampler.schema.typeName === AlwaysOnSamplerConfigSchema.typeName;
  if (config.sampler !== undefined && !alwaysOn) place.field("sampler").refuse("only always_on is supported");
  const report = otlpReporter(config, exporters, place);
  return (
    report && {
      propagation: w3c,
      // Without a sampler that knows better, the caller may say no, but not yes.
      sampled: (traced, caller) => traced && (alwaysOn || caller !== false),
      shareSpans: false,
      traceIdBytes: 16,
      upstreamSpans: false,
      spanName: () => "ingress",
      report,
    }
  );
}

function compileZipkin(config: ZipkinConfig, exporters: Exporters, place: Place): Provider | undefined {
  if (config.collectorEndpointVersion !== Version.HTTP_JSON) {
    place.field("collector_endpoint_version").refuse("only HTTP_JSON is supported");
    return undefined;
  }
  return {
    propagation: b3,
    // The caller has the last word.
    sampled: (traced, caller) => caller ?? traced,
    // "Default: true".
    shareSpans: config.sharedSpanContext ?? true,
    traceIdBytes: config.traceId128bit ? 16 : 8,
    upstreamSpans: false,
    spanName: ({ authority }) => fromWire(authority),
    report: zipkinReporter(config, exporters),
  };
}
