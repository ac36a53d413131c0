import type { IdentityOptions } from "../filters/client-address.ts";
import type { ClientCertOptions } from "../filters/client-cert.ts";
import type { FilterFactory } from "../filters/filter.ts";
import type { BodyRates } from "../filters/pace.ts";
import type { Http2Options } from "../http2/options.ts";
import type { ReplyRewrite } from "../filters/local-reply.ts";
import type { AccessLog } from "../observe/access-log.ts";
import type { TracingOptions } from "../observe/trace/tracing.ts";
import type { RouteTable } from "../route/route.ts";
import type { ChainTable } from "./chain-match.ts";
import type { DownstreamTls } from "./downstream-tls.ts";
import type { Inspection } from "./inspector.ts";

/** An address to listen on. */
export interface BindAddress {
  readonly address: string;
  readonly port: number;
}

/** A Listener made ready for use (listen/compile.ts makes it). Immutable. */
export interface ListenerOptions extends BindAddress {
  readonly name: string;
  /** Listened on as well. */
  readonly additionalAddresses?: readonly BindAddress[];
  readonly backlog: number;
  /** What its statistics are called in place of the address; "": the address. */
  readonly statPrefix?: string;
  /** Open connections at most, in all workers together, whatever chains they are on; undefined: any number. */
  readonly connectionsMax?: number | undefined;
  /** The same for each client: an IPv4 address, or an IPv6 /64. */
  readonly connectionsPerAddressMax?: number | undefined;
  /** Whether connections end after an answer while the proxy is told to fail health checks (drain_type). */
  readonly drainsWithHealth?: boolean;
  /** All filter chains, the default one among them. */
  readonly chains: readonly FilterChainOptions[];
  /** Finds the chain of a connection; undefined: there is one chain only, and it takes every connection. */
  readonly table?: ChainTable<FilterChainOptions> | undefined;
  /** For connections that no other chain fits; without it they are closed. */
  readonly defaultChain?: FilterChainOptions | undefined;
  /** What is looked at before the chain is chosen; undefined: nothing. */
  readonly inspection?: Inspection | undefined;
}

/** Envoy's connection_limit filter. */
export interface ConnectionLimit {
  /** Open connections of the chain at most, in all workers together. */
  readonly connectionsMax: number;
  readonly statPrefix: string;
}

/** A FilterChain with its HttpConnectionManager. Immutable. */
export interface FilterChainOptions {
  /** The same for chains of equal content: their connections go on when the listener changes. */
  readonly id: string;
  /** TLS; undefined: plain text. */
  readonly tls?: DownstreamTls | undefined;
  /** Its connection_limit filters, in their order. */
  readonly connectionLimits?: readonly ConnectionLimit[];
  readonly http: HttpOptions;
}

/** HttpConnectionManager's options with Envoy's defaults filled in. Times in ms, 0: none. */
export interface HttpOptions {
  readonly statPrefix: string;
  readonly routeConfigName: string;
  /** What clients may speak; "auto": either, as ALPN or their first bytes say. */
  readonly codec: "auto" | "http1" | "http2";
  readonly http2: Http2Options;
  /** The routes that the listener brings along; undefined: they come by RDS under the name above. */
  readonly inlineRoutes?: RouteTable | undefined;
  readonly serverName: string;
  readonly serverHeader: "overwrite" | "append-if-absent" | "pass-through";
  readonly maxRequestHeadersKb: number;
  readonly maxHeadersCount: number;
  readonly connectionIdleTimeoutMs: number;
  readonly streamIdleTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly requestHeadersTimeoutMs: number;
  readonly delayedCloseTimeoutMs: number;
  /** How long HTTP/2 clients may take to hear of the end of their connection, before new streams are refused. */
  readonly drainTimeoutMs: number;
  readonly maxConnectionDurationMs: number;
  readonly maxStreamDurationMs: number;
  /** 0: no limit. */
  readonly maxRequestsPerConnection: number;
  readonly headersWithUnderscores: "allow" | "reject" | "drop";
  readonly normalizePath: boolean;
  readonly mergeSlashes: boolean;
  readonly escapedSlashes: "keep" | "reject" | "redirect" | "forward";
  readonly stripMatchingHostPort: boolean;
  readonly stripAnyHostPort: boolean;
  readonly stripTrailingHostDot: boolean;
  readonly useRemoteAddress: boolean;
  /** Undefined: Envoy's defaults. */
  readonly identity?: IdentityOptions;
  /** What the upstream is told of client certificates; undefined: nothing. */
  readonly clientCert?: ClientCertOptions | undefined;
  readonly skipXffAppend: boolean;
  readonly generateRequestId: boolean;
  readonly preserveExternalRequestId: boolean;
  readonly alwaysSetRequestIdInResponse: boolean;
  readonly acceptHttp10: boolean;
  readonly via: string;
  /** What clients must come to; undefined: any pace will do. */
  readonly bodyRates?: BodyRates | undefined;
  /** Upgrade types (lower case) that routes may use, and whether they do by default. */
  readonly upgrades: ReadonlyMap<string, boolean>;
  readonly accessLogs: readonly AccessLog[];
  /** Undefined: requests are not traced. */
  readonly tracing?: TracingOptions | undefined;
  /** The form of our own answers; undefined: as Envoy's. */
  readonly localReplies?: ReplyRewrite | undefined;
  /** Filters before the router, in request order; undefined: none. */
  readonly filters?: readonly FilterFactory[];
}
