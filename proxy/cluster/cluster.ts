/** A cluster with its endpoints, made ready for balancing (cluster/compile.ts makes it). The object lives as long as the cluster's name does in this worker; parts are replaced. */
export interface Cluster {
  readonly name: string;
  readonly settings: ClusterSettings;
  /**
   * The endpoint for the next attempt. Undefined: none is usable (503, flag UH).
   * `hash` decides in ring hash and Maglev; `avoid` are endpoints already tried, to be avoided for `attempts` draws.
   */
  pick(hash: bigint | undefined, avoid?: ReadonlySet<Endpoint>, attempts?: number): Endpoint | undefined;
  /** All endpoints, for /clusters. */
  endpoints(): Iterable<Endpoint>;
  /** Requests and connections under way here, against the circuit breakers. */
  readonly load: ClusterLoad;
}

export interface ClusterSettings {
  readonly connectTimeoutMs: number;
  readonly tls: UpstreamTls | undefined;
  /** Of the default priority; Envoy's default is 1024 each, 3 for retries. */
  readonly breakers: {
    readonly maxConnections: number;
    readonly maxPendingRequests: number;
    readonly maxRequests: number;
    readonly maxRetries: number;
  };
  /** An idle upstream connection is closed after this; 0: never. Default 1 h. */
  readonly idleTimeoutMs: number;
  /** 0: no limit. */
  readonly maxRequestsPerConnection: number;
}

export interface ClusterLoad {
  connections: number;
  pending: number;
  requests: number;
  retries: number;
}

export interface UpstreamTls {
  /** "": the endpoint's hostname if it has one. */
  readonly sni: string;
  readonly verify: boolean;
  /** PEM; undefined: Node's bundled authorities. */
  readonly ca: string | undefined;
  /** DNS names or IP addresses of which the certificate must carry one; empty: no check of the name. */
  readonly subjectAltNames: readonly string[];
}

/** One endpoint. The object stays the same while address, port and cluster do, so that pools and counts survive updates. */
export interface Endpoint {
  readonly address: string;
  readonly port: number;
  /** "address:port", IPv6 in brackets. */
  readonly key: string;
  readonly hostname: string;
  /** Replaced by updates. */
  weight: number;
  priority: number;
  healthy: boolean;
  /** False once it left the cluster: its idle connections are closed, running requests go on. */
  alive: boolean;
  activeRequests: number;
  /** The upstream pool's own; nothing else touches it. */
  pool: unknown;
}
