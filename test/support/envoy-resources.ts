import { fromJson, type Message } from "@bufbuild/protobuf";

import { ClusterSchema } from "#envoy/config/cluster/v3/cluster_pb.ts";
import { ClusterLoadAssignmentSchema } from "#envoy/config/endpoint/v3/endpoint_pb.ts";
import { ListenerSchema } from "#envoy/config/listener/v3/listener_pb.ts";
import { VirtualHostSchema } from "#envoy/config/route/v3/route_components_pb.ts";
import { RouteConfigurationSchema } from "#envoy/config/route/v3/route_pb.ts";
import { registry } from "#proto/registry.ts";

/** An EDS cluster. */
export const cluster = (name: string): Message =>
  fromJson(ClusterSchema, {
    name,
    type: "EDS",
    edsClusterConfig: { edsConfig: { ads: {}, resourceApiVersion: "V3" } },
    connectTimeout: "1s",
  });

/** A cluster of what a name stands for. */
export const namedCluster = (name: string, address: string, portValue: number): Message =>
  fromJson(ClusterSchema, {
    name,
    type: "STRICT_DNS",
    connectTimeout: "1s",
    loadAssignment: {
      clusterName: name,
      endpoints: [{ lbEndpoints: [{ endpoint: { address: { socketAddress: { address, portValue } } } }] }],
    },
  });

/** The endpoints of a cluster, all on 127.0.0.1. */
export const assignment = (clusterName: string, ...ports: number[]): Message =>
  fromJson(ClusterLoadAssignmentSchema, {
    clusterName,
    endpoints: [
      {
        lbEndpoints: ports.map((portValue) => ({
          endpoint: { address: { socketAddress: { address: "127.0.0.1", portValue } } },
        })),
      },
    ],
  });

/** A route table that sends each prefix to a cluster. */
export const routes = (name: string, byPrefix: Record<string, string>): Message =>
  fromJson(RouteConfigurationSchema, {
    name,
    virtualHosts: [
      {
        name: "all",
        domains: ["*"],
        routes: Object.entries(byPrefix).map(([prefix, to]) => ({ match: { prefix }, route: { cluster: to } })),
      },
    ],
  });

/** A route table that takes its virtual hosts by VHDS. */
export const takingVirtualHosts = (name: string): Message =>
  fromJson(RouteConfigurationSchema, { name, vhds: { configSource: { ads: {}, resourceApiVersion: "V3" } } });

/** A virtual host as a resource of its own, that sends everything to a cluster. */
export const virtualHost = (name: string, domains: string[], cluster: string): Message =>
  fromJson(VirtualHostSchema, { name, domains, routes: [{ match: { prefix: "/" }, route: { cluster } }] });

/** A plain HTTP listener on 127.0.0.1 that takes its routes by RDS. */
export const listener = (name: string, port: number, routeConfigName: string): Message =>
  fromJson(
    ListenerSchema,
    {
      name,
      address: { socketAddress: { address: "127.0.0.1", portValue: port } },
      filterChains: [
        {
          filters: [
            {
              name: "envoy.filters.network.http_connection_manager",
              typedConfig: {
                "@type":
                  "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                statPrefix: "http",
                rds: { routeConfigName, configSource: { ads: {}, resourceApiVersion: "V3" } },
                httpFilters: [
                  {
                    name: "envoy.filters.http.router",
                    typedConfig: { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" },
                  },
                ],
              },
            },
          ],
        },
      ],
    },
    { registry },
  );
