import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";

import {
  type Cluster,
  Cluster_DiscoveryType,
  Cluster_DnsLookupFamily,
  ClusterSchema,
} from "#envoy/config/cluster/v3/cluster_pb.ts";
import { SocketAddressSchema } from "#envoy/config/core/v3/address_pb.ts";
import { type GrpcService, GrpcServiceSchema } from "#envoy/config/core/v3/grpc_service_pb.ts";
import { EndpointSchema } from "#envoy/config/endpoint/v3/endpoint_components_pb.ts";
import type { GatewayGroup } from "#sluice/model/v1/gateway_group_pb.ts";
import { UpstreamProtocol } from "#sluice/model/v1/upstream_pb.ts";
import { CONTROL_PLANE_CLUSTER } from "#proto/control-plane-cluster.ts";

import { type CollectorAddress, CONTROL_PLANE, parseCollector } from "../model/collector.ts";
import { isIpAddress } from "../model/hosts.ts";
import { collectorClusterName } from "./names.ts";
import { toProtocolOptions } from "./protocol-options.ts";

const CONNECT_TIMEOUT_MS = 5_000;

/** The clusters of the collectors that a group names, each once. The control plane's is the data planes' own. */
export function toCollectorClusters({ accessLog, tracing }: GatewayGroup): Cluster[] {
  const clusters = new Map<string, Cluster>();
  for (const text of [tracing?.collector, accessLog?.disabled === true ? "" : accessLog?.collector]) {
    if (!text || text === CONTROL_PLANE) continue;
    const cluster = toCluster(addressOf(text));
    clusters.set(cluster.name, cluster);
  }
  return [...clusters.values()];
}

/** A collector as the service that Envoy's loggers and tracers call. */
export const collectorService = (text: string): GrpcService =>
  create(GrpcServiceSchema, {
    targetSpecifier: {
      case: "envoyGrpc",
      value:
        text === CONTROL_PLANE
          ? { clusterName: CONTROL_PLANE_CLUSTER }
          : { clusterName: collectorClusterName(addressOf(text)), authority: text },
    },
  });

function toCluster({ host, port }: CollectorAddress): Cluster {
  const name = collectorClusterName({ host, port });
  const address = {
    case: "socketAddress",
    value: create(SocketAddressSchema, { address: host, portSpecifier: { case: "portValue", value: port } }),
  } as const;
  const endpoint = create(EndpointSchema, { address: { address } });
  return create(ClusterSchema, {
    name,
    clusterDiscoveryType: {
      case: "type",
      value: isIpAddress(host) ? Cluster_DiscoveryType.STATIC : Cluster_DiscoveryType.STRICT_DNS,
    },
    dnsLookupFamily: Cluster_DnsLookupFamily.V4_PREFERRED,
    connectTimeout: durationFromMs(CONNECT_TIMEOUT_MS),
    loadAssignment: {
      clusterName: name,
      endpoints: [{ lbEndpoints: [{ hostIdentifier: { case: "endpoint", value: endpoint } }] }],
    },
    typedExtensionProtocolOptions: toProtocolOptions({ protocol: UpstreamProtocol.GRPC }),
  });
}

function addressOf(text: string): CollectorAddress {
  const address = parseCollector(text);
  if (address === undefined) throw new Error(`a stored object is not valid: collector ${text}`);
  return address;
}
