import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";

import {
  type Cluster,
  Cluster_DiscoveryType,
  Cluster_DnsLookupFamily,
  Cluster_LbPolicy,
  ClusterSchema,
} from "#envoy/config/cluster/v3/cluster_pb.ts";
import type { Service } from "#sluice/model/v1/service_pb.ts";
import { Balance, type Upstream } from "#sluice/model/v1/upstream_pb.ts";

import { isIpAddress } from "../model/hosts.ts";
import { toLoadAssignment } from "./endpoints.ts";
import { clusterName } from "./names.ts";
import { toProtocolOptions } from "./protocol-options.ts";
import { toTransportSocket } from "./tls.ts";

const CONNECT_TIMEOUT_MS_DEFAULT = 5_000;

/** A balance that a newer Sluice stored is unknown here and falls back to taking turns. */
const lbPolicies: ReadonlyMap<Balance, Cluster_LbPolicy> = new Map([
  [Balance.UNSPECIFIED, Cluster_LbPolicy.ROUND_ROBIN],
  [Balance.ROUND_ROBIN, Cluster_LbPolicy.ROUND_ROBIN],
  [Balance.LEAST_REQUEST, Cluster_LbPolicy.LEAST_REQUEST],
  [Balance.CONSISTENT_HASH, Cluster_LbPolicy.RING_HASH],
  [Balance.RANDOM, Cluster_LbPolicy.RANDOM],
]);

/** Whether data planes must look nodes up themselves: EDS carries addresses only. */
export const needsDns = (upstream: Upstream): boolean => upstream.nodes.some(({ host }) => !isIpAddress(host));

/**
 * The cluster of one upstream. Where it can, it lists no endpoints: they change far more often than the upstream does
 * and travel alone (translate/endpoints.ts), so that a node that comes or goes never re-sends or re-warms a cluster.
 */
export function toCluster(service: Service, upstream: Upstream): Cluster {
  const name = clusterName(service, upstream.name);
  return create(ClusterSchema, {
    name,
    ...(needsDns(upstream) ? byDns(name, upstream) : byDiscovery),
    connectTimeout: upstream.timeouts?.connect ?? durationFromMs(CONNECT_TIMEOUT_MS_DEFAULT),
    lbPolicy: lbPolicies.get(upstream.balance) ?? Cluster_LbPolicy.ROUND_ROBIN,
    transportSocket: toTransportSocket(upstream),
    typedExtensionProtocolOptions: toProtocolOptions(upstream),
    // Native proxies and gRPC clients report its load by that; Envoy does by its bootstrap alone.
    lrsServer: { configSourceSpecifier: { case: "self", value: {} } },
  });
}

const byDiscovery = {
  clusterDiscoveryType: { case: "type", value: Cluster_DiscoveryType.EDS },
  edsClusterConfig: { edsConfig: { configSourceSpecifier: { case: "ads", value: {} } } },
} as const;

const byDns = (name: string, upstream: Upstream) =>
  ({
    clusterDiscoveryType: { case: "type", value: Cluster_DiscoveryType.STRICT_DNS },
    loadAssignment: toLoadAssignment(name, upstream),
    // Envoy's default tries IPv6 alone where there is any, which nodes such as "localhost" often don't listen on.
    dnsLookupFamily: Cluster_DnsLookupFamily.V4_PREFERRED,
  }) as const;
