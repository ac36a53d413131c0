import { hostname } from "node:os";

import { exitCode } from "../errors.ts";
import type { GlobalOptions } from "../options.ts";
import { print } from "../output.ts";
import type { Terminal } from "../terminal.ts";
import { toYaml } from "../yaml/write.ts";

/** Options of `sluice bootstrap envoy`. */
export interface BootstrapOptions extends GlobalOptions {
  readonly xds: string;
  readonly group: string;
  readonly nodeId?: string;
  readonly admin: string;
  /** Downstream connections at most, over all listeners. */
  readonly maxConnections: number;
}

/** `sluice bootstrap envoy`: what `envoy -c` needs to join a gateway group. */
export async function bootstrapEnvoy(options: BootstrapOptions, terminal: Terminal): Promise<number> {
  const bootstrap = envoyBootstrap(options);
  await print(terminal, options.output, bootstrap, () => toYaml(bootstrap).trimEnd());
  return exitCode.ok;
}

/** Envoy's Bootstrap (envoy.config.bootstrap.v3), field names as in Envoy's documentation. */
function envoyBootstrap({ xds, group, nodeId, admin, maxConnections }: Omit<BootstrapOptions, keyof GlobalOptions>) {
  const ads = { resource_api_version: "V3", ads: {}, initial_fetch_timeout: "0s" };
  return {
    node: { id: nodeId ?? hostname(), cluster: group },
    admin: { address: socketAddress(admin) },
    dynamic_resources: {
      ads_config: {
        api_type: "DELTA_GRPC",
        transport_api_version: "V3",
        // The node is long, and the stream has only one sender.
        set_node_on_first_message_only: true,
        grpc_services: [{ envoy_grpc: { cluster_name: XDS_CLUSTER } }],
      },
      // No timeout: without a control plane it waits, rather than start empty.
      lds_config: ads,
      cds_config: ads,
    },
    static_resources: {
      clusters: [
        {
          name: XDS_CLUSTER,
          // An address needs no resolver; a name is resolved again and again, as control planes move.
          type: /^(\[|[\d.]+:)/.test(xds) ? "STATIC" : "STRICT_DNS",
          connect_timeout: "5s",
          typed_extension_protocol_options: {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
              "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
              explicit_http_config: {
                // A control plane whose machine is gone is noticed within a minute, although nothing is sent.
                http2_protocol_options: { connection_keepalive: { interval: "30s", timeout: "10s" } },
              },
            },
          },
          upstream_connection_options: {
            tcp_keepalive: { keepalive_probes: 3, keepalive_time: 30, keepalive_interval: 10 },
          },
          load_assignment: {
            cluster_name: XDS_CLUSTER,
            endpoints: [{ lb_endpoints: [{ endpoint: { address: socketAddress(xds) } }] }],
          },
        },
      ],
    },
    overload_manager: {
      resource_monitors: [
        {
          name: "envoy.resource_monitors.global_downstream_max_connections",
          typed_config: {
            "@type":
              "type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
            max_active_downstream_connections: maxConnections,
          },
        },
      ],
    },
  };
}

const XDS_CLUSTER = "xds_cluster";

function socketAddress(address: string) {
  const at = address.lastIndexOf(":");
  const host = address.slice(0, at).replace(/^\[(.*)\]$/, "$1");
  return { socket_address: { address: host, port_value: Number(address.slice(at + 1)) } };
}
