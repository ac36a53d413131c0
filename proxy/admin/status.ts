import { create, type JsonValue, toJson } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";

import { ClustersSchema } from "#envoy/admin/v3/clusters_pb.ts";
import { ListenersSchema } from "#envoy/admin/v3/listeners_pb.ts";
import { SimpleMetric_Type } from "#envoy/admin/v3/metrics_pb.ts";
import { ServerInfo_State, ServerInfoSchema } from "#envoy/admin/v3/server_info_pb.ts";
import { HealthStatus } from "#envoy/config/core/v3/health_check_pb.ts";
import type { Listener } from "#envoy/config/listener/v3/listener_pb.ts";
import { resourceType } from "#proto/resource-types.ts";

import type { Breakers } from "../cluster/cluster.ts";
import { listenAddress } from "../xds/references.ts";
import type { AdminSource, ClusterStatus, ServerState } from "./source.ts";

const states: Record<ServerState, ServerInfo_State> = {
  LIVE: ServerInfo_State.LIVE,
  DRAINING: ServerInfo_State.DRAINING,
  PRE_INITIALIZING: ServerInfo_State.PRE_INITIALIZING,
};

const options = { useProtoFieldName: true, alwaysEmitImplicit: true } as const;

/** envoy.admin.v3.ServerInfo. */
export function serverInfo(source: AdminSource): JsonValue {
  const uptime = durationFromMs(Math.round(performance.now() - source.startedAt));
  const info = create(ServerInfoSchema, {
    version: `sluice-proxy/${source.version}`,
    state: states[source.state()],
    uptimeCurrentEpoch: uptime,
    uptimeAllEpochs: uptime,
    commandLineOptions: {
      concurrency: source.workers,
      logLevel: source.logLevel,
      serviceCluster: source.group,
      serviceNode: source.nodeId,
      drainTime: durationFromMs(source.drainTimeMs),
    },
    node: { id: source.nodeId, cluster: source.group, userAgentName: "sluice-proxy" },
  });
  return toJson(ServerInfoSchema, info, { useProtoFieldName: true, alwaysEmitImplicit: true });
}

/** /listeners as lines of "name::address". */
export function listenersText(source: Pick<AdminSource, "active" | "state">): string {
  return listeners(source)
    .map(({ name, host, port }) => `${name}::${hostPort(host, port)}`)
    .join("\n");
}

/** envoy.admin.v3.Listeners. */
export function listenersJson(source: Pick<AdminSource, "active" | "state">): JsonValue {
  const listenerStatuses = listeners(source).map(({ name, host, port }) => ({
    name,
    localAddress: socketAddress(host, port),
  }));
  return toJson(ListenersSchema, create(ListenersSchema, { listenerStatuses }), options);
}

function listeners(source: Pick<AdminSource, "active" | "state">): { name: string; host: string; port: number }[] {
  // What is configured, and not yet (or no longer) open in any worker.
  if (source.state() === "PRE_INITIALIZING") return [];
  return [...source.active(resourceType("LDS")).values()].flatMap(({ name, message }) => {
    const where = listenAddress(message as Listener);
    return where === undefined ? [] : [{ name, ...where }];
  });
}

/** /clusters as Envoy's lines of "cluster::endpoint::what::value". */
export function clustersText(clusters: readonly ClusterStatus[]): string {
  const lines: string[] = [];
  for (const { name, statName, breakers, highBreakers, endpoints } of clusters) {
    lines.push(
      `${name}::observability_name::${statName}`,
      ...breakerLines(`${name}::default_priority`, breakers),
      ...breakerLines(`${name}::high_priority`, highBreakers),
      `${name}::added_via_api::true`,
    );
    for (const { address, port, hostname, weight, priority, healthy, activeRequests } of endpoints) {
      const at = `${name}::${hostPort(address, port)}`;
      lines.push(
        `${at}::rq_active::${activeRequests}`,
        `${at}::hostname::${hostname}`,
        `${at}::health_flags::${healthy ? "healthy" : "/failed_eds_health"}`,
        `${at}::weight::${weight}`,
        `${at}::priority::${priority}`,
      );
    }
  }
  return lines.join("\n");
}

const breakerLines = (at: string, breakers: Breakers) => [
  `${at}::max_connections::${breakers.maxConnections}`,
  `${at}::max_pending_requests::${breakers.maxPendingRequests}`,
  `${at}::max_requests::${breakers.maxRequests}`,
  `${at}::max_retries::${breakers.maxRetries}`,
];

/** envoy.admin.v3.Clusters. */
export function clustersJson(clusters: readonly ClusterStatus[]): JsonValue {
  const clusterStatuses = clusters.map(({ name, statName, endpoints }) => ({
    name,
    observabilityName: statName,
    addedViaApi: true,
    hostStatuses: endpoints.map(({ address, port, hostname, weight, priority, healthy, activeRequests }) => ({
      address: socketAddress(address, port),
      stats: [{ name: "rq_active", value: BigInt(activeRequests), type: SimpleMetric_Type.GAUGE }],
      healthStatus: { edsHealthStatus: healthy ? HealthStatus.HEALTHY : HealthStatus.UNHEALTHY },
      hostname,
      weight,
      priority,
    })),
  }));
  return toJson(ClustersSchema, create(ClustersSchema, { clusterStatuses }), { useProtoFieldName: true });
}

const hostPort = (host: string, port: number) => (host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`);

const socketAddress = (address: string, port: number) => ({
  address: {
    case: "socketAddress" as const,
    value: { address, portSpecifier: { case: "portValue" as const, value: port } },
  },
});
