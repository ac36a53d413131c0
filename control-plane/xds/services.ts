import type { DescMethod } from "@bufbuild/protobuf";

import { ClusterDiscoveryService } from "#envoy/service/cluster/v3/cds_pb.ts";
import { AggregatedDiscoveryService } from "#envoy/service/discovery/v3/ads_pb.ts";
import { EndpointDiscoveryService } from "#envoy/service/endpoint/v3/eds_pb.ts";
import { LocalityEndpointDiscoveryService } from "#envoy/service/endpoint/v3/leds_pb.ts";
import { ExtensionConfigDiscoveryService } from "#envoy/service/extension/v3/config_discovery_pb.ts";
import { ListenerDiscoveryService } from "#envoy/service/listener/v3/lds_pb.ts";
import { RouteDiscoveryService, VirtualHostDiscoveryService } from "#envoy/service/route/v3/rds_pb.ts";
import { ScopedRoutesDiscoveryService } from "#envoy/service/route/v3/srds_pb.ts";
import { RuntimeDiscoveryService } from "#envoy/service/runtime/v3/rtds_pb.ts";
import { SecretDiscoveryService } from "#envoy/service/secret/v3/sds_pb.ts";
import { type ServedType, servedType } from "#proto/resource-types.ts";

import { delta } from "./delta.ts";
import type { StreamProtocol } from "./protocol.ts";
import { sotw } from "./sotw.ts";

/** A streaming method, the protocol that it speaks, and its type; undefined: all. */
type Method = readonly [DescMethod, StreamProtocol, ServedType | undefined];

const both = (streamed: DescMethod, incremental: DescMethod, type: ServedType | undefined): Method[] => [
  [streamed, sotw, type],
  [incremental, delta, type],
];

const ads = AggregatedDiscoveryService.method;
const cds = ClusterDiscoveryService.method;
const eds = EndpointDiscoveryService.method;
const lds = ListenerDiscoveryService.method;
const rds = RouteDiscoveryService.method;
const srds = ScopedRoutesDiscoveryService.method;
const sds = SecretDiscoveryService.method;
const rtds = RuntimeDiscoveryService.method;
const ecds = ExtensionConfigDiscoveryService.method;

/** Every method of discovery that is served (T6). VHDS and LEDS are defined for delta alone. */
export const methods: readonly Method[] = [
  ...both(ads.streamAggregatedResources, ads.deltaAggregatedResources, undefined),
  ...both(cds.streamClusters, cds.deltaClusters, servedType("CDS")),
  ...both(eds.streamEndpoints, eds.deltaEndpoints, servedType("EDS")),
  ...both(lds.streamListeners, lds.deltaListeners, servedType("LDS")),
  ...both(rds.streamRoutes, rds.deltaRoutes, servedType("RDS")),
  ...both(srds.streamScopedRoutes, srds.deltaScopedRoutes, servedType("SRDS")),
  ...both(sds.streamSecrets, sds.deltaSecrets, servedType("SDS")),
  ...both(rtds.streamRuntime, rtds.deltaRuntime, servedType("RTDS")),
  ...both(ecds.streamExtensionConfigs, ecds.deltaExtensionConfigs, servedType("ECDS")),
  [VirtualHostDiscoveryService.method.deltaVirtualHosts, delta, servedType("VHDS")],
  [LocalityEndpointDiscoveryService.method.deltaLocalityEndpoints, delta, servedType("LEDS")],
];
