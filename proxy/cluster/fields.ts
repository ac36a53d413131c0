/** The fields of cluster and endpoint messages that this proxy honours, and those that change nothing (see route/fields.ts). */
export const fields: Record<string, Record<string, "used" | "ignored">> = {
  "envoy.config.cluster.v3.Cluster": {
    name: "used",
    type: "used",
    eds_cluster_config: "used",
    connect_timeout: "used",
    lb_policy: "used",
    load_assignment: "used",
    max_requests_per_connection: "used",
    circuit_breakers: "used",
    typed_extension_protocol_options: "used",
    dns_refresh_rate: "used",
    respect_dns_ttl: "used",
    dns_lookup_family: "used",
    ring_hash_lb_config: "used",
    least_request_lb_config: "used",
    maglev_lb_config: "used",
    round_robin_lb_config: "used",
    upstream_connection_options: "used",
    common_lb_config: "used",
    transport_socket: "used",
    transport_socket_matches: "used",
    alt_stat_name: "used",
    lrs_server: "used",
    // A description.
    metadata: "ignored",
    // There are no health checks whose verdict a removal could wait for.
    ignore_health_on_host_removal: "ignored",
  },
  "envoy.config.cluster.v3.Cluster.TransportSocketMatch": {
    // For logs, and a counter of how often it was chosen.
    name: "ignored",
    match: "used",
    transport_socket: "used",
  },
  "envoy.config.cluster.v3.Cluster.EdsClusterConfig": { eds_config: "used", service_name: "used" },
  "envoy.config.core.v3.ConfigSource": {
    ads: "used",
    self: "used",
    resource_api_version: "ignored",
    // How long a listener or cluster may wait for what it names; the graph waits until it is whole.
    initial_fetch_timeout: "ignored",
  },
  "envoy.config.core.v3.SelfConfigSource": { transport_api_version: "ignored" },
  "envoy.config.cluster.v3.Cluster.RingHashLbConfig": {
    minimum_ring_size: "used",
    maximum_ring_size: "used",
    hash_function: "used",
  },
  "envoy.config.cluster.v3.Cluster.MaglevLbConfig": { table_size: "used" },
  "envoy.config.cluster.v3.Cluster.LeastRequestLbConfig": { choice_count: "used" },
  "envoy.config.cluster.v3.Cluster.CommonLbConfig": {
    healthy_panic_threshold: "used",
    locality_weighted_lb_config: "used",
    // Updates are applied at once: each costs only its own cluster.
    update_merge_window: "ignored",
  },
  "envoy.type.v3.Percent": { value: "used" },
  "envoy.config.cluster.v3.CircuitBreakers": { thresholds: "used" },
  "envoy.config.cluster.v3.CircuitBreakers.Thresholds": {
    priority: "used",
    max_connections: "used",
    max_pending_requests: "used",
    max_requests: "used",
    max_retries: "used",
    track_remaining: "used",
    retry_budget: "used",
  },
  "envoy.config.cluster.v3.CircuitBreakers.Thresholds.RetryBudget": {
    budget_percent: "used",
    min_retry_concurrency: "used",
  },
  "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
    common_http_protocol_options: "used",
    upstream_http_protocol_options: "used",
    explicit_http_config: "used",
    auto_config: "used",
    use_downstream_protocol_config: "used",
  },
  "envoy.extensions.upstreams.http.v3.HttpProtocolOptions.ExplicitHttpConfig": {
    http_protocol_options: "used",
    http2_protocol_options: "used",
  },
  "envoy.extensions.upstreams.http.v3.HttpProtocolOptions.AutoHttpConfig": {
    http_protocol_options: "used",
    http2_protocol_options: "used",
  },
  "envoy.extensions.upstreams.http.v3.HttpProtocolOptions.UseDownstreamHttpConfig": {
    http_protocol_options: "used",
    http2_protocol_options: "used",
  },
  // Which of these fields clusters honour is decided in cluster/protocol-options.ts.
  "envoy.config.core.v3.HttpProtocolOptions": {
    idle_timeout: "used",
    max_connection_duration: "used",
    max_requests_per_connection: "used",
  },
  "envoy.config.core.v3.UpstreamHttpProtocolOptions": { auto_sni: "used", auto_san_validation: "used" },
  "envoy.config.core.v3.Http2ProtocolOptions": {
    hpack_table_size: "used",
    max_concurrent_streams: "used",
    initial_stream_window_size: "used",
    initial_connection_window_size: "used",
    allow_connect: "ignored",
    connection_keepalive: "used",
    override_stream_error_on_invalid_http_message: "used",
  },
  "envoy.config.core.v3.KeepaliveSettings": {
    interval: "used",
    timeout: "used",
    // Refused by whoever does not honour them.
    interval_jitter: "used",
    connection_idle_interval: "used",
  },
  "envoy.config.cluster.v3.UpstreamConnectionOptions": { tcp_keepalive: "used" },
  "envoy.config.core.v3.TcpKeepalive": { keepalive_time: "used" },
  "envoy.config.core.v3.TransportSocket": { name: "ignored", typed_config: "used" },
  "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer": {},
  "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext": {
    common_tls_context: "used",
    sni: "used",
    max_session_keys: "used",
  },
  "envoy.config.endpoint.v3.ClusterLoadAssignment": { cluster_name: "used", endpoints: "used", policy: "used" },
  "envoy.config.endpoint.v3.ClusterLoadAssignment.Policy": { overprovisioning_factor: "used" },
  "envoy.config.endpoint.v3.LocalityLbEndpoints": {
    // Names the group of endpoints; groups are kept apart as they are listed.
    locality: "ignored",
    metadata: "used",
    lb_endpoints: "used",
    load_balancing_weight: "used",
    priority: "used",
  },
  "envoy.config.endpoint.v3.LbEndpoint": {
    endpoint: "used",
    health_status: "used",
    metadata: "used",
    load_balancing_weight: "used",
  },
  // Read of endpoints: envoy.transport_socket_match, and envoy.lb's hash_key and canary. What else there is describes them.
  "envoy.config.core.v3.Metadata": { filter_metadata: "used", typed_filter_metadata: "ignored" },
  "envoy.config.endpoint.v3.Endpoint": {
    address: "used",
    hostname: "used",
    additional_addresses: "used",
    // Of health checks, which clusters can't have.
    health_check_config: "ignored",
  },
  "envoy.config.endpoint.v3.Endpoint.AdditionalAddress": { address: "used" },
  "envoy.config.core.v3.Address": { socket_address: "used" },
  "envoy.config.core.v3.SocketAddress": {
    protocol: "used",
    address: "used",
    port_value: "used",
    // On "::" Node listens for IPv4, too, in any case; on no other address would it mean anything.
    ipv4_compat: "ignored",
  },
};
