import { create } from "@bufbuild/protobuf";

import { OpenTelemetryConfigSchema } from "#envoy/config/trace/v3/opentelemetry_pb.ts";
import {
  type HttpConnectionManager_Tracing,
  HttpConnectionManager_TracingSchema,
} from "#envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.ts";
import type { Tracing } from "#sluice/model/v1/gateway_group_pb.ts";

import { extension } from "./any.ts";
import { collectorService } from "./collectors.ts";

const SAMPLING_PERCENT_DEFAULT = 100;

/** How a group's listeners trace requests; undefined: they don't. */
export function toTracing(tracing: Tracing | undefined): HttpConnectionManager_Tracing | undefined {
  if (tracing === undefined) return undefined;
  const { collector, samplingPercent, serviceName } = tracing;
  const provider = create(OpenTelemetryConfigSchema, {
    grpcService: collectorService(collector),
    serviceName: serviceName || "sluice",
  });
  return create(HttpConnectionManager_TracingSchema, {
    randomSampling: { value: samplingPercent ?? SAMPLING_PERCENT_DEFAULT },
    provider: extension("envoy.tracers.opentelemetry", OpenTelemetryConfigSchema, provider),
  });
}
