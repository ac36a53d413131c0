import { createRegistry, type DescMessage, fromBinary, type Message } from "@bufbuild/protobuf";
import type { Any } from "@bufbuild/protobuf/wkt";

import { ClusterSchema } from "#envoy/config/cluster/v3/cluster_pb.ts";
import { ClusterLoadAssignmentSchema } from "#envoy/config/endpoint/v3/endpoint_pb.ts";
import { ListenerSchema } from "#envoy/config/listener/v3/listener_pb.ts";
import { RouteConfigurationSchema } from "#envoy/config/route/v3/route_pb.ts";
import { FilterConfigSchema } from "#envoy/config/route/v3/route_components_pb.ts";
import { FileAccessLogSchema } from "#envoy/extensions/access_loggers/file/v3/file_pb.ts";
import { HttpGrpcAccessLogConfigSchema } from "#envoy/extensions/access_loggers/grpc/v3/als_pb.ts";
import { StderrAccessLogSchema, StdoutAccessLogSchema } from "#envoy/extensions/access_loggers/stream/v3/stream_pb.ts";
import { CorsPolicySchema, CorsSchema } from "#envoy/extensions/filters/http/cors/v3/cors_pb.ts";
import { GrpcWebSchema } from "#envoy/extensions/filters/http/grpc_web/v3/grpc_web_pb.ts";
import { HttpInspectorSchema } from "#envoy/extensions/filters/listener/http_inspector/v3/http_inspector_pb.ts";
import { ProxyProtocolSchema } from "#envoy/extensions/filters/listener/proxy_protocol/v3/proxy_protocol_pb.ts";
import { TlsInspectorSchema } from "#envoy/extensions/filters/listener/tls_inspector/v3/tls_inspector_pb.ts";
import { ConnectionLimitSchema } from "#envoy/extensions/filters/network/connection_limit/v3/connection_limit_pb.ts";
import { RouterSchema } from "#envoy/extensions/filters/http/router/v3/router_pb.ts";
import { HttpConnectionManagerSchema } from "#envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.ts";
import { CustomHeaderConfigSchema } from "#envoy/extensions/http/original_ip_detection/custom_header/v3/custom_header_pb.ts";
import { XffConfigSchema } from "#envoy/extensions/http/original_ip_detection/xff/v3/xff_pb.ts";
import { LeastRequestSchema } from "#envoy/extensions/load_balancing_policies/least_request/v3/least_request_pb.ts";
import { MaglevSchema } from "#envoy/extensions/load_balancing_policies/maglev/v3/maglev_pb.ts";
import { RandomSchema } from "#envoy/extensions/load_balancing_policies/random/v3/random_pb.ts";
import { RingHashSchema } from "#envoy/extensions/load_balancing_policies/ring_hash/v3/ring_hash_pb.ts";
import { RoundRobinSchema } from "#envoy/extensions/load_balancing_policies/round_robin/v3/round_robin_pb.ts";
import { OpenTelemetryConfigSchema } from "#envoy/config/trace/v3/opentelemetry_pb.ts";
import { ZipkinConfigSchema } from "#envoy/config/trace/v3/zipkin_pb.ts";
import { AlwaysOnSamplerConfigSchema } from "#envoy/extensions/tracers/opentelemetry/samplers/v3/always_on_sampler_pb.ts";
import { PreviousHostsPredicateSchema } from "#envoy/extensions/retry/host/previous_hosts/v3/previous_hosts_pb.ts";
import { RawBufferSchema } from "#envoy/extensions/transport_sockets/raw_buffer/v3/raw_buffer_pb.ts";
import { SecretSchema } from "#envoy/extensions/transport_sockets/tls/v3/secret_pb.ts";
import {
  DownstreamTlsContextSchema,
  UpstreamTlsContextSchema,
} from "#envoy/extensions/transport_sockets/tls/v3/tls_pb.ts";
import { HttpProtocolOptionsSchema } from "#envoy/extensions/upstreams/http/v3/http_protocol_options_pb.ts";

/**
 * Every message that may hide in a google.protobuf.Any of a resource that we write, read or show; JSON of such messages needs it too. Each
 * program and each worker thread loads all of these before it does anything else, so that what only one page needs is not here.
 */
export const registry = createRegistry(
  // Resources: the Anys of discovery responses.
  ClusterSchema,
  ClusterLoadAssignmentSchema,
  ListenerSchema,
  RouteConfigurationSchema,
  SecretSchema,
  // Listeners.
  HttpConnectionManagerSchema,
  ConnectionLimitSchema,
  TlsInspectorSchema,
  HttpInspectorSchema,
  ProxyProtocolSchema,
  DownstreamTlsContextSchema,
  RawBufferSchema,
  XffConfigSchema,
  OpenTelemetryConfigSchema,
  AlwaysOnSamplerConfigSchema,
  ZipkinConfigSchema,
  CustomHeaderConfigSchema,
  FileAccessLogSchema,
  StdoutAccessLogSchema,
  StderrAccessLogSchema,
  HttpGrpcAccessLogConfigSchema,
  // HTTP filters and their settings per route.
  RouterSchema,
  GrpcWebSchema,
  CorsSchema,
  CorsPolicySchema,
  FilterConfigSchema,
  PreviousHostsPredicateSchema,
  // Clusters.
  UpstreamTlsContextSchema,
  HttpProtocolOptionsSchema,
  RoundRobinSchema,
  LeastRequestSchema,
  RandomSchema,
  RingHashSchema,
  MaglevSchema,
);

/** What is in an Any: a message that the registry knows, an unknown type, or bytes that are not such a message. */
export type Unpacked =
  | { readonly kind: "message"; readonly schema: DescMessage; readonly message: Message }
  | { readonly kind: "unknown"; readonly typeName: string }
  | { readonly kind: "malformed"; readonly typeName: string };

/** Opens an Any. The type name is what follows the last "/" of its URL (google/protobuf/any.proto); "" if the URL is empty. */
export function unpack(any: Any): Unpacked {
  const typeName = any.typeUrl.slice(any.typeUrl.lastIndexOf("/") + 1);
  const schema = registry.getMessage(typeName);
  if (schema === undefined) return { kind: "unknown", typeName };
  try {
    return { kind: "message", schema, message: fromBinary(schema, any.value) };
  } catch {
    return { kind: "malformed", typeName };
  }
}
