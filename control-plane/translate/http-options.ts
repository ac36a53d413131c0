import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";

import { HttpProtocolOptions_HeadersWithUnderscoresAction as UnderscoresAction } from "#envoy/config/core/v3/protocol_pb.ts";
import {
  HttpConnectionManager_PathWithEscapedSlashesAction as SlashesAction,
  HttpConnectionManager_ServerHeaderTransformation as ServerTransformation,
} from "#envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.ts";
import {
  EscapedSlashes,
  type HttpOptions,
  HttpOptionsSchema,
  ServerHeader,
  Underscores,
} from "#sluice/model/v1/http_options_pb.ts";

const IDLE_TIMEOUT_MS = 3_600_000;
const STREAM_IDLE_TIMEOUT_MS = 300_000;
const REQUEST_HEADERS_TIMEOUT_MS = 10_000;
const REQUEST_HEADERS_KB_MAX = 60;

const serverHeaders: ReadonlyMap<ServerHeader, ServerTransformation> = new Map([
  [ServerHeader.APPEND_IF_ABSENT, ServerTransformation.APPEND_IF_ABSENT],
  [ServerHeader.PASS_THROUGH, ServerTransformation.PASS_THROUGH],
]);

const escapedSlashes: ReadonlyMap<EscapedSlashes, SlashesAction> = new Map([
  [EscapedSlashes.KEEP, SlashesAction.KEEP_UNCHANGED],
  [EscapedSlashes.REDIRECT, SlashesAction.UNESCAPE_AND_REDIRECT],
  [EscapedSlashes.UNESCAPE, SlashesAction.UNESCAPE_AND_FORWARD],
]);

const underscores: ReadonlyMap<Underscores, UnderscoresAction> = new Map([
  [Underscores.ALLOW, UnderscoresAction.ALLOW],
  [Underscores.REJECT, UnderscoresAction.REJECT_REQUEST],
]);

/** The fields of an HttpConnectionManager that a listener's options decide. Those that the operator left alone are safe at the edge. */
export function toHttpOptions(options: HttpOptions = create(HttpOptionsSchema)) {
  return {
    serverName: options.serverName || "sluice",
    serverHeaderTransformation: serverHeaders.get(options.serverHeader) ?? ServerTransformation.OVERWRITE,
    // Data planes stand at the edge: the client is the peer, and nobody's x-forwarded-for or x-envoy-* is believed but trusted hops'.
    useRemoteAddress: true,
    xffNumTrustedHops: options.trustedHops,
    preserveExternalRequestId: options.preserveRequestId,
    alwaysSetRequestIdInResponse: options.requestIdInResponse,
    commonHttpProtocolOptions: {
      idleTimeout: options.idleTimeout ?? durationFromMs(IDLE_TIMEOUT_MS),
      maxConnectionDuration: options.maxConnectionDuration,
      maxHeadersCount: options.maxHeaderCount || undefined,
      maxRequestsPerConnection: options.maxRequestsPerConnection || undefined,
      // Upstreams that turn "-" into "_" (CGI) would confuse X_User with X-User.
      headersWithUnderscoresAction: underscores.get(options.underscores) ?? UnderscoresAction.DROP_HEADER,
    },
    ...(options.acceptHttp10 && { httpProtocolOptions: { acceptHttp10: true } }),
    maxRequestHeadersKb: options.maxHeaderKb || REQUEST_HEADERS_KB_MAX,
    streamIdleTimeout: options.streamIdleTimeout ?? durationFromMs(STREAM_IDLE_TIMEOUT_MS),
    requestHeadersTimeout: options.headerTimeout ?? durationFromMs(REQUEST_HEADERS_TIMEOUT_MS),
    requestTimeout: options.requestTimeout,
    drainTimeout: options.drainTimeout,
    // Routes must see the path that the upstream will see, or a route that guards a path could be walked around.
    normalizePath: options.normalizePath ?? true,
    mergeSlashes: options.mergeSlashes,
    pathWithEscapedSlashesAction: escapedSlashes.get(options.escapedSlashes) ?? SlashesAction.REJECT_REQUEST,
  };
}
