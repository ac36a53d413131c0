import { type DescMethod, fromBinary, getOption, hasOption } from "@bufbuild/protobuf";
import { type handleUnaryCall, status } from "@grpc/grpc-js";

import { ClusterDiscoveryService } from "#envoy/service/cluster/v3/cds_pb.ts";
import {
  type DiscoveryRequest,
  type DiscoveryResponse,
  DiscoveryResponseSchema,
} from "#envoy/service/discovery/v3/discovery_pb.ts";
import { EndpointDiscoveryService } from "#envoy/service/endpoint/v3/eds_pb.ts";
import { ExtensionConfigDiscoveryService } from "#envoy/service/extension/v3/config_discovery_pb.ts";
import { ListenerDiscoveryService } from "#envoy/service/listener/v3/lds_pb.ts";
import { RouteDiscoveryService } from "#envoy/service/route/v3/rds_pb.ts";
import { ScopedRoutesDiscoveryService } from "#envoy/service/route/v3/srds_pb.ts";
import { RuntimeDiscoveryService } from "#envoy/service/runtime/v3/rtds_pb.ts";
import { SecretDiscoveryService } from "#envoy/service/secret/v3/sds_pb.ts";
import { http } from "#google/api/annotations_pb.ts";
import { type ServedType, servedType } from "#proto/resource-types.ts";

import { fetchOnce } from "./fetch.ts";
import { credentialsOf } from "./join.ts";
import type { StreamContext } from "./stream-context.ts";

/** Every unary method of discovery (T6). */
export const fetchMethods: readonly (readonly [DescMethod, ServedType])[] = [
  [ClusterDiscoveryService.method.fetchClusters, servedType("CDS")],
  [EndpointDiscoveryService.method.fetchEndpoints, servedType("EDS")],
  [ListenerDiscoveryService.method.fetchListeners, servedType("LDS")],
  [RouteDiscoveryService.method.fetchRoutes, servedType("RDS")],
  [ScopedRoutesDiscoveryService.method.fetchScopedRoutes, servedType("SRDS")],
  [SecretDiscoveryService.method.fetchSecrets, servedType("SDS")],
  [RuntimeDiscoveryService.method.fetchRuntime, servedType("RTDS")],
  [ExtensionConfigDiscoveryService.method.fetchExtensionConfigs, servedType("ECDS")],
];

/** The type that each path of REST discovery is for: "/v3/discovery:clusters" and so on, as the API's annotations say. */
export const fetchPaths: ReadonlyMap<string, ServedType> = new Map(
  fetchMethods.flatMap(([method, type]) => {
    const { pattern } = hasOption(method, http) ? getOption(method, http) : { pattern: undefined };
    return pattern?.case === "post" ? [[pattern.value, type] as const] : [];
  }),
);

/** Answers a unary call of a type. ABORTED tells a client that it has the newest version. */
export function fetchHandler(
  type: ServedType,
  context: StreamContext,
): handleUnaryCall<DiscoveryRequest, DiscoveryResponse> {
  return (call, respond) => {
    const fetched = fetchOnce(context, type, call.request, credentialsOf(call));
    if (fetched === "unchanged") respond({ code: status.ABORTED, details: "the version is the newest one" });
    else if ("code" in fetched) respond({ ...fetched });
    else respond(null, fromBinary(DiscoveryResponseSchema, fetched.bytes));
  };
}
