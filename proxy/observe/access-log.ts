import type { Peer } from "../filters/record.ts";
import type { RequestHead } from "../request.ts";
import type { RequestTrace } from "./trace/tracing.ts";

/** What an access log can tell of one request; the data path fills it while the request goes on. Times are ms of performance.now(). */
export interface RequestRecord {
  /** Wall clock at the start, ms since 1970. */
  startMs: number;
  startedAt: number;
  /** When the last byte of the request was received / the response head came / the first and last byte of the response were sent; -1: not (yet). */
  requestEndAt: number;
  responseHeadAt: number;
  responseStartAt: number;
  endAt: number;
  protocol: "HTTP/1.0" | "HTTP/1.1" | "HTTP/2" | undefined;
  /** Undefined when no head could be read. */
  head: RequestHead | undefined;
  /** The path as received, before any rewrite. */
  originalPath: string;
  /** 0: no response was begun. */
  status: number;
  responseHeaders: { get(name: string): string | undefined } | undefined;
  /** What followed the response's body, such as grpc-status; undefined: nothing. */
  responseTrailers: { get(name: string): string | undefined } | undefined;
  /** The body of an answer that the proxy gives itself, while its final form is being made. */
  localReplyBody: string | undefined;
  /** What filters left for others, by namespace. */
  dynamicMetadata: ReadonlyMap<string, unknown> | undefined;
  /** The request's trace; undefined: tracing is off. */
  trace: RequestTrace | undefined;
  /** Envoy's RESPONSE_CODE_DETAILS: "via_upstream", "route_not_found", … */
  details: string;
  /** Envoy's response flags, "UF", "UH", …; empty for none. */
  flags: readonly string[];
  bytesReceived: number;
  bytesSent: number;
  /** "address:port" of the last endpoint tried. */
  upstreamHost: string | undefined;
  upstreamLocalAddress: string | undefined;
  /** What the cluster is called in statistics (its alt_stat_name, if it has one), and its name. */
  upstreamCluster: string | undefined;
  upstreamClusterRaw: string | undefined;
  upstreamTransportFailure: string | undefined;
  attempts: number;
  routeName: string | undefined;
  virtualHost: string | undefined;
  requestId: string | undefined;
  downstreamLocalAddress: string;
  downstreamRemoteAddress: string;
  downstreamRemotePort: number;
  /** Whoever is at the other end of the connection, and how it is secured. */
  readonly peer: Peer;
}

/** One configured access log. */
export interface AccessLog {
  write(record: RequestRecord): void;
}
