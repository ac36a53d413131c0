import type { Message } from "@bufbuild/protobuf";

import { type Cluster, Cluster_DiscoveryType } from "#envoy/config/cluster/v3/cluster_pb.ts";
import type { Listener } from "#envoy/config/listener/v3/listener_pb.ts";
import type { VirtualHost } from "#envoy/config/route/v3/route_components_pb.ts";
import type { RouteConfiguration } from "#envoy/config/route/v3/route_pb.ts";
import type { HttpConnectionManager } from "#envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.ts";
import { HttpConnectionManagerSchema } from "#envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.ts";
import { unpack } from "#proto/registry.ts";

import { collectorClusters } from "../observe/export/references.ts";

import { secretNames } from "./secret-names.ts";

/** The names of other resources that a resource needs before it is of use. Lists, each name once: there are many, and nearly all are short. */
export interface References {
  readonly clusters: readonly string[];
  readonly endpoints: readonly string[];
  readonly routes: readonly string[];
  readonly secrets: readonly string[];
  /** "*" in a route configuration that takes virtual hosts by VHDS: which they are, their own names say. */
  readonly virtualHosts: readonly string[];
  /** Not names of resources: what a virtual host answers to, as it is written. No other may at the same time. */
  readonly domains: readonly string[];
}

const none: readonly string[] = [];
const every: readonly string[] = ["*"];
const noReferences: References = {
  clusters: none,
  endpoints: none,
  routes: none,
  secrets: none,
  virtualHosts: none,
  domains: none,
};

/** Each name once. */
const unique = (names: Iterable<string>): readonly string[] => {
  const set = new Set(names);
  return set.size === 0 ? none : [...set];
};

/** What a resource of one of our types names. It must have been judged before (decode.ts). */
export function referencesOf(message: Message): References {
  switch (message.$typeName) {
    case "envoy.config.cluster.v3.Cluster":
      return { ...noReferences, ...clusterReferences(message as Cluster) };
    case "envoy.config.listener.v3.Listener":
      return listenerReferences(message as Listener);
    case "envoy.config.route.v3.RouteConfiguration": {
      const { virtualHosts, vhds } = message as RouteConfiguration;
      return { ...noReferences, clusters: clustersOf(virtualHosts), virtualHosts: vhds === undefined ? none : every };
    }
    case "envoy.config.route.v3.VirtualHost": {
      const host = message as VirtualHost;
      return { ...noReferences, clusters: clustersOf([host]), domains: host.domains };
    }
    default:
      return noReferences;
  }
}

/** The address that a listener binds, as "address:port" (IPv6 in brackets); undefined if it names no TCP port. */
export function listenAddress(listener: Listener): { readonly host: string; readonly port: number } | undefined {
  const address = listener.address?.address;
  if (address?.case !== "socketAddress" || address.value.portSpecifier.case !== "portValue") return undefined;
  return { host: address.value.address, port: address.value.portSpecifier.value };
}

function clusterReferences(cluster: Cluster): Pick<References, "endpoints" | "secrets"> {
  const sockets = [cluster.transportSocket, ...cluster.transportSocketMatches.map((match) => match.transportSocket)];
  return { endpoints: endpointsOf(cluster), secrets: unique(sockets.flatMap(secretNames)) };
}

function endpointsOf(cluster: Cluster): readonly string[] {
  const { case: kind, value } = cluster.clusterDiscoveryType;
  if (kind !== "type" || value !== Cluster_DiscoveryType.EDS) return none;
  // "Optional alternative to cluster name to present to EDS" (cluster.proto, EdsClusterConfig.service_name).
  return [cluster.edsClusterConfig?.serviceName || cluster.name];
}

function listenerReferences(listener: Listener): References {
  const routes = new Set<string>();
  const clusters = new Set<string>();
  const chains = listener.defaultFilterChain
    ? [...listener.filterChains, listener.defaultFilterChain]
    : listener.filterChains;
  for (const { configType } of chains.flatMap(({ filters }) => filters)) {
    if (configType.case !== "typedConfig") continue;
    const unpacked = unpack(configType.value);
    if (unpacked.kind !== "message" || unpacked.schema.typeName !== HttpConnectionManagerSchema.typeName) continue;
    const { routeSpecifier } = unpacked.message as HttpConnectionManager;
    for (const name of collectorClusters(unpacked.message as HttpConnectionManager))
      if (name !== "") clusters.add(name);
    if (routeSpecifier.case === "rds") routes.add(routeSpecifier.value.routeConfigName);
    else if (routeSpecifier.case === "routeConfig") {
      for (const name of clustersOf(routeSpecifier.value.virtualHosts)) clusters.add(name);
    }
  }
  const secrets = unique(chains.flatMap(({ transportSocket }) => secretNames(transportSocket)));
  return { ...noReferences, clusters: unique(clusters), routes: unique(routes), secrets };
}

function clustersOf(virtualHosts: readonly VirtualHost[]): readonly string[] {
  const found = new Set<string>();
  for (const { action } of virtualHosts.flatMap((host) => host.routes)) {
    if (action.case !== "route") continue;
    const target = action.value.clusterSpecifier;
    if (target.case === "cluster") found.add(target.value);
    else if (target.case === "weightedClusters") for (const { name } of target.value.clusters) found.add(name);
  }
  // A weighted cluster may take its name from a header instead; then there is nothing to wait for.
  found.delete("");
  return unique(found);
}
