import { readFile } from "node:fs/promises";
import { isIP } from "node:net";
import { hostname } from "node:os";
import { resolve } from "node:path";

import { CONTROL_PLANE_CLUSTER } from "#proto/control-plane-cluster.ts";

import { CliError, exitCode } from "../errors.ts";
import { type JoinOptions, joinProblem } from "../join-options.ts";
import type { GlobalOptions } from "../options.ts";
import { print } from "../output.ts";
import type { Terminal } from "../terminal.ts";
import { toYaml } from "../yaml/write.ts";

/** Options of `sluice bootstrap envoy`. */
export interface BootstrapOptions extends GlobalOptions, JoinOptions {
  readonly xds: string;
  readonly group: string;
  readonly nodeId?: string;
  readonly admin: string;
  /** Downstream connections at most, over all listeners. */
  readonly maxConnections: number;
  /** Report the load of each cluster to the control plane. */
  readonly loadReports?: boolean;
}

/** `sluice bootstrap envoy`: what `envoy -c` needs to join a gateway group. */
export async function bootstrapEnvoy(options: BootstrapOptions, terminal: Terminal): Promise<number> {
  const problem = joinProblem(options);
  if (problem !== undefined) throw new CliError(problem);
  const token = await joinToken(options);
  const bootstrap = envoyBootstrap(options, token);
  await print(terminal, options.output, bootstrap, () => toYaml(bootstrap).trimEnd());
  return exitCode.ok;
}

/** Instructions of one pattern in Envoy; RE2's time is linear in them. */
const RE2_PROGRAM_SIZE_MAX = 65_536;

/** Envoy's Bootstrap (envoy.config.bootstrap.v3), field names as in Envoy's documentation. */
function envoyBootstrap(options: Omit<BootstrapOptions, keyof GlobalOptions>, token: string | undefined) {
  const { xds, group, nodeId, admin, maxConnections } = options;
  const grpcServices = [{ envoy_grpc: { cluster_name: CONTROL_PLANE_CLUSTER } }];
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
        grpc_services: grpcServices,
      },
      // No timeout: without a control plane it waits, rather than start empty.
      lds_config: ads,
      cds_config: ads,
    },
    ...(options.loadReports === true && {
      cluster_manager: {
        load_stats_config: { api_type: "GRPC", transport_api_version: "V3", grpc_services: grpcServices },
      },
    }),
    static_resources: {
      // As metadata of its streams the token would stand in Envoy's config dump, where secrets are "[redacted]".
      ...(token !== undefined && {
        secrets: [{ name: TOKEN_SECRET, generic_secret: { secret: { inline_string: `Bearer ${token}` } } }],
      }),
      clusters: [
        {
          name: CONTROL_PLANE_CLUSTER,
          // An address needs no resolver; a name is resolved again and again, as control planes move.
          type: /^(\[|[\d.]+:)/.test(xds) ? "STATIC" : "STRICT_DNS",
          connect_timeout: "5s",
          ...transportSocket(options),
          typed_extension_protocol_options: {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
              "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
              explicit_http_config: {
                // A control plane whose machine is gone is noticed within a minute, although nothing is sent.
                http2_protocol_options: { connection_keepalive: { interval: "30s", timeout: "10s" } },
              },
              ...(token !== undefined && { http_filters: showingToken }),
            },
          },
          upstream_connection_options: {
            tcp_keepalive: { keepalive_probes: 3, keepalive_time: 30, keepalive_interval: 10 },
          },
          load_assignment: {
            cluster_name: CONTROL_PLANE_CLUSTER,
            endpoints: [{ lb_endpoints: [{ endpoint: { address: socketAddress(xds) } }] }],
          },
        },
      ],
    },
    layered_runtime: {
      layers: [
        {
          name: "sluice",
          // Envoy before 1.40 refuses patterns that compile to more than 100 instructions, which a cookie's does.
          static_layer: { "re2.max_program_size.error_level": RE2_PROGRAM_SIZE_MAX },
        },
        { name: "admin", admin_layer: {} },
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

/** The token for an Envoy that is started from what is printed: it stands there in full, as Envoy reads it from nowhere else. */
async function joinToken({ joinTokenFile }: JoinOptions): Promise<string | undefined> {
  if (joinTokenFile === undefined) return process.env["SLUICE_JOIN_TOKEN"] || undefined;
  const text = await readFile(joinTokenFile, "utf8").catch((error: NodeJS.ErrnoException) => {
    throw new CliError(`${joinTokenFile} can't be read (${error.code})`);
  });
  return text.trim();
}

/** TLS to the control plane. Envoy reads the files when it starts. */
function transportSocket({ xds, xdsTls, xdsCa, xdsCert, xdsKey }: JoinOptions & { readonly xds: string }) {
  if (xdsTls !== true && xdsCa === undefined) return {};
  const host = socketAddress(xds).socket_address.address;
  const name = isIP(host) === 0 ? { sni: host } : {};
  const san = { san_type: isIP(host) === 0 ? "DNS" : "IP_ADDRESS", matcher: { exact: host } };
  return {
    transport_socket: {
      name: "envoy.transport_sockets.tls",
      typed_config: {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        ...name,
        common_tls_context: {
          ...(xdsCert !== undefined &&
            xdsKey !== undefined && {
              tls_certificates: [
                { certificate_chain: { filename: resolve(xdsCert) }, private_key: { filename: resolve(xdsKey) } },
              ],
            }),
          validation_context: {
            ...(xdsCa === undefined ? { system_root_certs: {} } : { trusted_ca: { filename: resolve(xdsCa) } }),
            match_typed_subject_alt_names: [san],
          },
        },
      },
    },
  };
}

const TOKEN_SECRET = "join_token";

/** The filters of requests to the control plane, of which the first adds the token to whatever is asked of it. */
const showingToken = [
  {
    name: "envoy.filters.http.credential_injector",
    typed_config: {
      "@type": "type.googleapis.com/envoy.extensions.filters.http.credential_injector.v3.CredentialInjector",
      overwrite: true,
      credential: {
        name: "envoy.http.injected_credentials.generic",
        typed_config: {
          "@type": "type.googleapis.com/envoy.extensions.http.injected_credentials.generic.v3.Generic",
          credential: { name: TOKEN_SECRET },
        },
      },
    },
  },
  {
    name: "envoy.filters.http.upstream_codec",
    typed_config: {
      "@type": "type.googleapis.com/envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec",
    },
  },
];

function socketAddress(address: string) {
  const at = address.lastIndexOf(":");
  const host = address.slice(0, at).replace(/^\[(.*)\]$/, "$1");
  return { socket_address: { address: host, port_value: Number(address.slice(at + 1)) } };
}
