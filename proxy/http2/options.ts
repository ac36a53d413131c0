/** Http2ProtocolOptions of a listener, with defaults for an edge proxy. */
export interface Http2Options {
  /** How many streams a client may have open at once. */
  readonly maxConcurrentStreams: number;
  /** HPACK's dynamic table, in bytes. */
  readonly hpackTableBytes: number;
  /** What a client may send ahead on one stream, and on all streams of a connection together, in bytes. */
  readonly streamWindowBytes: number;
  readonly connectionWindowBytes: number;
  /** Whether clients may use extended CONNECT (RFC 8441), as for WebSocket. */
  readonly allowConnect: boolean;
  /** How often to ping a client, and how long to wait for its answer, in ms; 0: no pings. */
  readonly keepaliveIntervalMs: number;
  readonly keepaliveTimeoutMs: number;
  /** Whether a message that is malformed ends the client's connection; otherwise its stream. */
  readonly malformedEndsConnection: boolean;
}

/** RFC 9113, 6.9.2: what a window is before anybody says otherwise, and what it can be. */
export const WINDOW_BYTES_MIN = 65_535;
export const WINDOW_BYTES_MAX = 2 ** 31 - 1;

/**
 * What Envoy's guide to edge proxies recommends, rather than the defaults of its API (1024 streams, windows of 16 and 24 MiB), which let one
 * client fill gigabytes.
 * https://www.envoyproxy.io/docs/envoy/latest/configuration/best_practices/edge
 */
export const edgeDefaults: Http2Options = {
  maxConcurrentStreams: 100,
  hpackTableBytes: 4_096,
  streamWindowBytes: 65_536,
  connectionWindowBytes: 1_048_576,
  allowConnect: false,
  keepaliveIntervalMs: 0,
  keepaliveTimeoutMs: 0,
  malformedEndsConnection: false,
};
