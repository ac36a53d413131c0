import type { IdentityOptions } from "../filters/client-address.ts";
import type { ClientCertOptions } from "../filters/client-cert.ts";
import type { FilterFactory } from "../filters/filter.ts";
import type { Http2Options } from "../http2/options.ts";
import type { ReplyRewrite } from "../filters/local-reply.ts";
import type { AccessLog } from "../observe/access-log.ts";
import type { TracingOptions } from "../observe/trace/tracing.ts";

/** A Listener with its HttpConnectionManager, made ready for use (listen/compile.ts makes it). Immutable. */
export interface ListenerOptions {
  readonly name: string;
  readonly address: string;
  readonly port: number;
  readonly backlog: number;
  readonly http: HttpOptions;
}

/** HttpConnectionManager's options with Envoy's defaults filled in. Times in ms, 0: none. */
export interface HttpOptions {
  readonly statPrefix: string;
  readonly routeConfigName: string;
  /** What clients may speak; "auto": either, as ALPN or their first bytes say. */
  readonly codec: "auto" | "http1" | "http2";
  readonly http2: Http2Options;
  readonly serverName: string;
  readonly serverHeader: "overwrite" | "append-if-absent" | "pass-through";
  readonly maxRequestHeadersKb: number;
  readonly maxHeadersCount: number;
  readonly connectionIdleTimeoutMs: number;
  readonly streamIdleTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly requestHeadersTimeoutMs: number;
  readonly delayedCloseTimeoutMs: number;
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
