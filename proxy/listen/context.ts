import type { Cluster } from "../cluster/cluster.ts";
import type { RouteTable } from "../route/route.ts";
import type { Secret } from "../tls/secret.ts";

/** A sum that only grows. */
export interface Counter {
  inc(by?: number): void;
}

/** A level that rises and falls. */
export interface Gauge {
  inc(by?: number): void;
  dec(by?: number): void;
}

/** A distribution; values in ms. */
export interface Histogram {
  record(value: number): void;
}

/**
 * What the data path counts for each HttpConnectionManager, in Envoy's words: `http.<stat_prefix>.<name>`.
 * https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_conn_man/stats
 */
export const listenerStatNames = {
  counters: [
    "downstream_cx_total",
    "downstream_cx_destroy",
    "downstream_cx_protocol_error",
    "downstream_cx_idle_timeout",
    "downstream_cx_max_duration_reached",
    "downstream_cx_max_requests_reached",
    "downstream_cx_drain_close",
    "downstream_cx_rx_bytes_total",
    "downstream_cx_tx_bytes_total",
    "downstream_cx_upgrades_total",
    "downstream_rq_total",
    "downstream_rq_completed",
    "downstream_rq_1xx",
    "downstream_rq_2xx",
    "downstream_rq_3xx",
    "downstream_rq_4xx",
    "downstream_rq_5xx",
    "downstream_rq_rx_reset",
    "downstream_rq_timeout",
    "downstream_rq_header_timeout",
    "downstream_rq_idle_timeout",
    "downstream_rq_max_duration_reached",
    "downstream_rq_too_large",
    "downstream_rq_ws_on_non_ws_route",
    "no_route",
    "no_cluster",
    "downstream_cx_http2_total",
    "downstream_cx_ssl_total",
    "downstream_rq_http1_total",
    "downstream_rq_http2_total",
    "downstream_rq_failed_path_normalization",
    "downstream_rq_redirected_with_normalized_path",
    "downstream_rq_rejected_via_ip_detection",
    "downstream_rq_response_before_rq_complete",
    "rq_total",
    "rq_direct_response",
    "rq_reset_after_downstream_response_started",
  ],
  gauges: ["downstream_cx_active", "downstream_cx_upgrades_active", "downstream_rq_active"],
  histograms: ["downstream_rq_time", "downstream_cx_length_ms"],
} as const;

/**
 * What is counted for each address that is listened on: `listener.<address>_<port>.<name>`.
 * https://www.envoyproxy.io/docs/envoy/latest/configuration/listeners/stats
 */
export const addressStatNames = {
  counters: [
    "downstream_cx_total",
    "downstream_cx_destroy",
    "downstream_global_cx_overflow",
    "downstream_cx_overflow",
    "downstream_cx_transport_socket_connect_timeout",
    "no_filter_chain_match",
    "server_ssl_socket_factory.downstream_context_secrets_not_ready",
    "ssl.handshake",
    "ssl.connection_error",
    "ssl.session_reused",
    "ssl.no_certificate",
    "ssl.fail_verify_no_cert",
    "ssl.fail_verify_error",
    "ssl.fail_verify_san",
    "ssl.fail_verify_cert_hash",
  ],
  gauges: ["downstream_cx_active"],
  histograms: ["downstream_cx_length_ms"],
} as const;

/**
 * What the data path counts for each cluster: `cluster.<name>.<name>`.
 * https://www.envoyproxy.io/docs/envoy/latest/configuration/upstream/cluster_manager/cluster_stats
 */
export const clusterStatNames = {
  counters: [
    "upstream_cx_total",
    "upstream_cx_http1_total",
    "upstream_cx_http2_total",
    "upstream_cx_close_notify",
    "upstream_cx_max_duration_reached",
    "upstream_cx_destroy",
    "upstream_cx_connect_fail",
    "upstream_cx_connect_timeout",
    "upstream_cx_idle_timeout",
    "upstream_cx_max_requests",
    "upstream_cx_overflow",
    "upstream_cx_protocol_error",
    "upstream_cx_rx_bytes_total",
    "upstream_cx_tx_bytes_total",
    "upstream_cx_none_healthy",
    "lb_healthy_panic",
    "upstream_rq_total",
    "upstream_rq_completed",
    "upstream_rq_1xx",
    "upstream_rq_2xx",
    "upstream_rq_3xx",
    "upstream_rq_4xx",
    "upstream_rq_5xx",
    "upstream_rq_cancelled",
    "upstream_rq_timeout",
    "upstream_rq_per_try_timeout",
    "upstream_rq_per_try_idle_timeout",
    "upstream_rq_rx_reset",
    "upstream_rq_tx_reset",
    "upstream_rq_pending_total",
    "upstream_rq_pending_overflow",
    "upstream_rq_pending_failure_eject",
    "upstream_rq_retry",
    "upstream_rq_retry_overflow",
    "upstream_rq_retry_success",
    "upstream_rq_retry_limit_exceeded",
  ],
  gauges: [
    "upstream_cx_active",
    "upstream_rq_active",
    "upstream_rq_pending_active",
    // What of these is of priority HIGH; not shown, since Envoy has no such names.
    "high.cx_active",
    "high.rq_active",
    "high.rq_pending_active",
    // The other breakers' are made of the gauges above (breaker-stats.ts).
    "circuit_breakers.default.rq_retry_open",
    "circuit_breakers.high.rq_retry_open",
  ],
  histograms: ["upstream_rq_time", "upstream_cx_connect_ms", "upstream_cx_length_ms"],
} as const;

/**
 * What the HTTP/1 codec counts: `http1.<name>` of all clients. Envoy's other names are about METADATA, which we have none of, and about responses that pile up
 * (response_flood), where we read no further request instead.
 * https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_conn_man/stats#http1-codec-statistics
 */
export const http1StatNames = {
  counters: ["dropped_headers_with_underscores", "requests_rejected_with_underscores_in_headers"],
  gauges: [],
  histograms: [],
} as const;

/**
 * What an HTTP/2 codec counts: `http2.<name>` of all clients, `cluster.<name>.http2.<name>` of a cluster's endpoints. Envoy's other names are about what its codec does
 * inside, or about METADATA frames.
 * https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_conn_man/stats#http-2-codec-statistics
 */
export const http2StatNames = {
  counters: [
    "dropped_headers_with_underscores",
    "goaway_sent",
    "header_overflow",
    "inbound_empty_frames_flood",
    "inbound_priority_frames_flood",
    "inbound_window_update_frames_flood",
    "keepalive_timeout",
    "outbound_control_flood",
    "outbound_flood",
    "requests_rejected_with_underscores_in_headers",
    "rx_messaging_error",
    "rx_reset",
    "stream_refused_errors",
    "trailers",
    "tx_flush_timeout",
    "tx_reset",
  ],
  gauges: ["pending_send_bytes", "streams_active"],
  histograms: [],
} as const;

type Named<Names extends { counters: readonly string[]; gauges: readonly string[]; histograms: readonly string[] }> = {
  readonly [Name in Names["counters"][number]]: Counter;
} & { readonly [Name in Names["gauges"][number]]: Gauge } & {
  readonly [Name in Names["histograms"][number]]: Histogram;
};

export type Http1Stats = Named<typeof http1StatNames>;

export type Http2Stats = Named<typeof http2StatNames>;

export type ListenerStats = Named<typeof listenerStatNames>;

/** What became of what was sent to collectors. */
export interface ExportStats {
  readonly sent: Counter;
  readonly dropped: Counter;
}

export type AddressStats = Named<typeof addressStatNames>;

/** What is counted by itself: of internal clients and of canaries once more, and what is tried again only there. */
export type RequestKind = "internal" | "canary" | "retry";

export interface ClusterStats extends Named<typeof clusterStatNames> {
  /** Counts one response under its very code, `upstream_rq_<status>`. */
  status(status: number): void;
  /** Counts one response as `<kind>.upstream_rq_<status>`, `<kind>.upstream_rq_2xx` and `<kind>.upstream_rq_completed`. */
  statusOf(kind: RequestKind, status: number): void;
  /** Counts the time of one request as `<kind>.upstream_rq_time`. */
  timeOf(kind: RequestKind, timeMs: number): void;
  /** Of the codec of its HTTP/2 connections; asked for by clusters that have some. */
  http2(): Http2Stats;
}

/**
 * What the connection_limit filter counts: `connection_limit.<stat_prefix>.<name>`.
 * https://www.envoyproxy.io/docs/envoy/latest/configuration/listeners/network_filters/connection_limit_filter
 */
export const limitStatNames = {
  counters: ["limited_connections"],
  gauges: ["active_connections"],
  histograms: [],
} as const;

export type LimitStats = Named<typeof limitStatNames>;

/** Where the data path counts. The objects are asked for once and kept, so looking them up may be slow; counting may not. */
export interface DataPathStats {
  listener(statPrefix: string): ListenerStats;
  cluster(name: string): ClusterStats;
  /** There is no cluster that is called so any more: its statistics are over, as in Envoy. What still goes on of it is counted for nobody. */
  forgetCluster(name: string): void;
  /** Of a listener's address, as "127.0.0.1_80", or of its stat_prefix. */
  address(address: string): AddressStats;
  connectionLimit(statPrefix: string): LimitStats;
  /** Of the codec of clients' HTTP/1 connections, whatever their listener. */
  http1(): Http1Stats;
  /** Of the codec of clients' HTTP/2 connections, whatever their listener. */
  http2(): Http2Stats;
  /** Of one kind of collector: Envoy's access_logs.grpc_access_log, tracing.opentelemetry, tracing.zipkin. */
  exported(kind: "access_logs" | "tracing", name: string): ExportStats;
}

/** What the data path asks of the compiled configuration; proxy/runtime.ts satisfies it. */
export interface Runtime {
  routeTable(name: string): RouteTable | undefined;
  cluster(name: string): Cluster | undefined;
  /** The present version of a secret, another object with each version: ask anew for each handshake. Undefined: it has not come yet. */
  secret(name: string): Secret | undefined;
  readonly stats: DataPathStats;
}
