import type { TlsCertificate } from "../tls/certificate.ts";
import type { TlsParameters } from "../tls/parameters.ts";
import type { PeerValidation } from "../tls/validation.ts";
import type { OwnOrSecret } from "../tls/validation-source.ts";
import { hasLabels, type Labels } from "./endpoint-metadata.ts";

/** A cluster with its endpoints, made ready for balancing (cluster/compile.ts makes it). The object lives as long as the cluster's name does in this worker; parts are replaced. */
export interface Cluster {
  readonly name: string;
  readonly settings: ClusterSettings;
  /**
   * The endpoint for the next attempt. Undefined: none is usable (503, flag UH).
   * `hash` decides in ring hash and Maglev; `avoid` are endpoints already tried, to be avoided for `attempts` draws.
   */
  pick(hash: bigint | undefined, avoid?: ReadonlySet<Endpoint>, attempts?: number): Endpoint | undefined;
  /** Counts each pick of all endpoints, healthy or not, since too few are; set by whoever has the cluster's statistics. */
  panics: { inc(): void } | undefined;
  /** All endpoints, for /clusters. */
  endpoints(): Iterable<Endpoint>;
  /** Requests and connections under way here, against the circuit breakers of the default priority, and against those of priority HIGH. */
  readonly load: ClusterLoad;
  readonly highLoad: ClusterLoad;
}

export interface ClusterSettings {
  /** What statistics, logs and traces call the cluster: its alt_stat_name, or its name. */
  readonly statName: string;
  readonly connectTimeoutMs: number;
  /** Of endpoints that no match is for; undefined: plain text. Ask {@link tlsOf}. */
  readonly tls: UpstreamTls | undefined;
  /** transport_socket_matches: the first that an endpoint's labels fit; undefined: there are none. */
  readonly tlsMatches?: readonly TlsMatch[] | undefined;
  /** Of the default priority, and of HIGH; Envoy's default is 1024 each, 3 for retries. */
  readonly breakers: Breakers;
  readonly highBreakers: Breakers;
  /** An idle upstream connection is closed after this; 0: never. Default 1 h. */
  readonly idleTimeoutMs: number;
  /** 0: no limit. */
  readonly maxRequestsPerConnection: number;
  /** A connection older than this takes no further request; 0: no limit. */
  readonly maxConnectionDurationMs: number;
  /** What connections speak; `auto`: what the endpoint chooses by ALPN; `downstream`: what the client speaks. */
  readonly protocol: "http1" | "http2" | "auto" | "downstream";
  /** How HTTP/2 connections are used. */
  readonly http2: Http2Options;
  /** Idle ms before TCP looks whether the other side is still there; undefined: it doesn't. */
  readonly tcpKeepaliveMs: number | undefined;
}

/** The TLS, or without it the plain text, of endpoints that have certain labels. */
export interface TlsMatch {
  readonly labels: Labels;
  readonly tls: UpstreamTls | undefined;
}

/** The limits of one routing priority; they hold in each worker by itself. */
export interface Breakers {
  readonly maxConnections: number;
  readonly maxPendingRequests: number;
  readonly maxRequests: number;
  readonly maxRetries: number;
  /** In place of `maxRetries`: a share of the requests under way, 0 to 1, but `min` in any case. */
  readonly retryBudget?: { readonly share: number; readonly min: number } | undefined;
}

/** Envoy's Http2ProtocolOptions, as far as a client has use for them. */
export interface Http2Options {
  /** Requests at a time on one connection, if the endpoint allows as many. */
  readonly maxConcurrentStreams: number;
  /** Bytes. */
  readonly initialStreamWindowSize: number;
  readonly initialConnectionWindowSize: number;
  readonly hpackTableSize: number;
  /** Undefined: no pings. */
  readonly keepalive: KeepaliveOptions | undefined;
  /** Whether a response that is malformed ends its connection, which carries others; otherwise its stream. */
  readonly malformedEndsConnection: boolean;
}

/** KeepaliveSettings: a ping each `intervalMs` (0: never), which is to be answered within `timeoutMs`. */
export interface KeepaliveOptions {
  readonly intervalMs: number;
  readonly timeoutMs: number;
}

export interface ClusterLoad {
  connections: number;
  pending: number;
  requests: number;
  retries: number;
}

/** An UpstreamTlsContext made ready for use. Immutable. */
export interface UpstreamTls extends TlsParameters {
  /** "": the endpoint's hostname if it has one. */
  readonly sni: string;
  /** The request's host is the name that is asked for. */
  readonly autoSni: boolean;
  /** The certificate must be for the name that is asked for. */
  readonly autoSanValidation: boolean;
  /** What we show when asked; undefined: nothing. */
  readonly certificate: OwnOrSecret<TlsCertificate> | undefined;
  /** What the endpoint's certificate must be: both together, if there are two. Empty: nothing is verified, as in Envoy. */
  readonly validation: readonly OwnOrSecret<PeerValidation>[];
  /** Replaces what the cluster's protocol offers by itself; empty: it doesn't. */
  readonly alpnProtocols: readonly string[];
  /** Sessions are kept and resumed. */
  readonly resumesSessions: boolean;
}

/** One endpoint. The object stays the same while address, port and cluster do, so that pools and counts survive updates. */
export interface Endpoint {
  readonly address: string;
  readonly port: number;
  /** Further IP addresses of it, tried at the same port when the first is slow or fails (Envoy's additional_addresses). Replaced by updates. */
  additionalAddresses: readonly string[];
  /** "address:port", IPv6 in brackets. */
  readonly key: string;
  readonly hostname: string;
  /** What decides on its transport socket: its own labels, then those of its locality. Replaced by updates, as what follows. */
  labels: readonly [own: Labels, ofLocality: Labels];
  /** What consistent hashing knows it by: its key, unless its metadata says otherwise. */
  hashKey: string;
  /** Whether requests to it are counted as a canary's, too. */
  canary: boolean;
  weight: number;
  priority: number;
  healthy: boolean;
  /** False once it left the cluster: its idle connections are closed, running requests go on. */
  alive: boolean;
  activeRequests: number;
  /** The upstream pool's own; nothing else touches it. */
  pool: unknown;
}

/** How a cluster's connections to an endpoint are secured; undefined: they aren't (Envoy TransportSocketMatcherImpl::resolve). */
export function tlsOf({ tls, tlsMatches }: ClusterSettings, endpoint: Endpoint): UpstreamTls | undefined {
  if (tlsMatches === undefined) return tls;
  for (const labels of endpoint.labels) {
    for (const match of tlsMatches) if (hasLabels(labels, match.labels)) return match.tls;
  }
  return tls;
}
