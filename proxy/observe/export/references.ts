import type { GrpcService } from "#envoy/config/core/v3/grpc_service_pb.ts";
import type { OpenTelemetryConfig } from "#envoy/config/trace/v3/opentelemetry_pb.ts";
import { OpenTelemetryConfigSchema } from "#envoy/config/trace/v3/opentelemetry_pb.ts";
import { type ZipkinConfig, ZipkinConfigSchema } from "#envoy/config/trace/v3/zipkin_pb.ts";
import {
  type HttpGrpcAccessLogConfig,
  HttpGrpcAccessLogConfigSchema,
} from "#envoy/extensions/access_loggers/grpc/v3/als_pb.ts";
import type { HttpConnectionManager } from "#envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.ts";
import { CONTROL_PLANE_CLUSTER } from "#proto/control-plane-cluster.ts";
import { unpack } from "#proto/registry.ts";

/** "" for the control plane's, too: that one is there from the start. */
const clusterOf = (service: GrpcService | undefined): string => {
  if (service?.targetSpecifier.case !== "envoyGrpc") return "";
  const { clusterName } = service.targetSpecifier.value;
  return clusterName === CONTROL_PLANE_CLUSTER ? "" : clusterName;
};

/** Clusters that an HttpConnectionManager sends logs and traces to; "" for what names none. */
export function collectorClusters({ accessLog, tracing }: HttpConnectionManager): string[] {
  return [...accessLog.map(({ configType }) => configType), tracing?.provider?.configType].map((config) => {
    const unpacked = config?.case === "typedConfig" ? unpack(config.value) : undefined;
    if (unpacked?.kind !== "message") return "";
    switch (unpacked.schema.typeName) {
      case HttpGrpcAccessLogConfigSchema.typeName:
        return clusterOf((unpacked.message as HttpGrpcAccessLogConfig).commonConfig?.grpcService);
      case OpenTelemetryConfigSchema.typeName: {
        const { grpcService, httpService } = unpacked.message as OpenTelemetryConfig;
        return clusterOf(grpcService) || (httpService?.httpUri?.httpUpstreamType.value ?? "");
      }
      case ZipkinConfigSchema.typeName:
        return (unpacked.message as ZipkinConfig).collectorCluster;
      default:
        return "";
    }
  });
}
