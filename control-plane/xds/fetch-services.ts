import { getOption, hasOption } from "@bufbuild/protobuf";
import { status } from "@grpc/grpc-js";

import { ClusterDiscoveryService } from "#envoy/service/cluster/v3/cds_pb.ts";
import type { DiscoveryRequestSchema, DiscoveryResponseSchema } from "#envoy/service/discovery/v3/discovery_pb.ts";
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
import type { Method } from "./port-call.ts";
import { type PortMethod, unaryMethod } from "./port-service.ts";
import type { StreamContext } from "./stream-context.ts";

/** Every unary method of discovery (T6). */
const fetchedTypes: readonly (readonly [
  Method<typeof DiscoveryRequestSchema, typeof DiscoveryResponseSchema>,
  ServedType,
])[] = [
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
  fetchedTypes.flatMap(([method, type]) => {
    const { pattern } = hasOption(method, http) ? getOption(method, http) : { pattern: undefined };
    return pattern?.case === "post" ? [[pattern.value, type] as const] : [];
  }),
);

/** The unary methods. ABORTED tells a client that it has the newest version. */
export const fetchMethods = (context: StreamContext): readonly PortMethod[] =>
  fetchedTypes.map(([method, type]) =>
    unaryMethod(method, (request, { credentials }) => {
      const fetched = fetchOnce(context, type, request, credentials);
      if (fetched === "unchanged") return { code: status.ABORTED, details: "the version is the newest one" };
      return "code" in fetched ? fetched : fetched.bytes;
    }),
  );
