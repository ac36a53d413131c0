import {
  type HttpProtocolOptions,
  HttpProtocolOptions_HeadersWithUnderscoresAction as Underscores,
} from "#envoy/config/core/v3/protocol_pb.ts";
import {
  type HttpConnectionManager,
  HttpConnectionManager_CodecType as CodecType,
  HttpConnectionManager_PathWithEscapedSlashesAction as EscapedSlashes,
  HttpConnectionManager_ServerHeaderTransformation as ServerHeader,
} from "#envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.ts";

import { durationMs, type Place } from "../compile.ts";
import { compileLocalReplies } from "../filters/local-reply.ts";
import { compileClientCert, compileIdentity } from "./compile-identity.ts";
import { compileHttp2Options } from "./compile-http2.ts";
import type { HttpOptions } from "./options.ts";

/** Envoy's defaults (proxy-parity part 4), in ms, KiB and fields. */
const defaults = {
  connectionIdleTimeoutMs: 3_600_000,
  streamIdleTimeoutMs: 300_000,
  delayedCloseTimeoutMs: 1_000,
  drainTimeoutMs: 5_000,
  maxRequestHeadersKb: 60,
  maxHeadersCount: 100,
} as const;

/** HttpConnectionManager.max_request_headers_kb: at most 8192. */
const REQUEST_HEADERS_KB_MAX = 8192;

/** The options of an HttpConnectionManager, without its routes and access logs. */
export function compileHttpOptions(
  message: HttpConnectionManager,
  place: Place,
): Omit<HttpOptions, "routeConfigName" | "accessLogs"> {
  if (message.httpProtocolOptions?.allowAbsoluteUrl === false) {
    place.field("http_protocol_options").field("allow_absolute_url").refuse("only true is supported");
  }
  const maxRequestHeadersKb = message.maxRequestHeadersKb ?? defaults.maxRequestHeadersKb;
  if (maxRequestHeadersKb < 1 || maxRequestHeadersKb > REQUEST_HEADERS_KB_MAX) {
    place.field("max_request_headers_kb").refuse(`must be within [1, ${REQUEST_HEADERS_KB_MAX}]`);
  }
  return {
    statPrefix: message.statPrefix,
    codec: compileCodec(message, place),
    http2: compileHttp2Options(message.http2ProtocolOptions, place.field("http2_protocol_options")),
    serverName: message.serverName || "envoy",
    serverHeader: known(serverHeaders, message.serverHeaderTransformation, place, "server_header_transformation"),
    maxRequestHeadersKb,
    ...compileCommon(message.commonHttpProtocolOptions, place.field("common_http_protocol_options")),
    streamIdleTimeoutMs: durationMs(message.streamIdleTimeout, defaults.streamIdleTimeoutMs),
    requestTimeoutMs: durationMs(message.requestTimeout, 0),
    requestHeadersTimeoutMs: durationMs(message.requestHeadersTimeout, 0),
    delayedCloseTimeoutMs: durationMs(message.delayedCloseTimeout, defaults.delayedCloseTimeoutMs),
    drainTimeoutMs: durationMs(message.drainTimeout, defaults.drainTimeoutMs),
    normalizePath: message.normalizePath ?? false,
    mergeSlashes: message.mergeSlashes,
    escapedSlashes: known(
      escapedSlashes,
      message.pathWithEscapedSlashesAction,
      place,
      "path_with_escaped_slashes_action",
    ),
    stripMatchingHostPort: message.stripMatchingHostPort,
    stripAnyHostPort: message.stripPortMode.case === "stripAnyHostPort" && message.stripPortMode.value,
    stripTrailingHostDot: message.stripTrailingHostDot,
    useRemoteAddress: message.useRemoteAddress ?? false,
    identity: compileIdentity(message, place),
    clientCert: compileClientCert(message, place),
    skipXffAppend: message.skipXffAppend,
    generateRequestId: message.generateRequestId ?? true,
    preserveExternalRequestId: message.preserveExternalRequestId,
    alwaysSetRequestIdInResponse: message.alwaysSetRequestIdInResponse,
    localReplies: compileLocalReplies(message.localReplyConfig, place.field("local_reply_config")),
    acceptHttp10: message.httpProtocolOptions?.acceptHttp10 ?? false,
    via: message.via,
    upgrades: compileUpgrades(message, place),
  };
}

function compileCodec({ codecType }: HttpConnectionManager, place: Place): HttpOptions["codec"] {
  switch (codecType) {
    case CodecType.AUTO:
      return "auto";
    case CodecType.HTTP1:
      return "http1";
    case CodecType.HTTP2:
      return "http2";
    default:
      place.field("codec_type").refuse("only AUTO, HTTP1 and HTTP2 are supported");
      return "auto";
  }
}

function compileCommon(message: HttpProtocolOptions | undefined, place: Place) {
  const maxHeadersCount = message?.maxHeadersCount ?? defaults.maxHeadersCount;
  if (maxHeadersCount < 1) place.field("max_headers_count").refuse("must be at least 1");
  return {
    connectionIdleTimeoutMs: durationMs(message?.idleTimeout, defaults.connectionIdleTimeoutMs),
    maxHeadersCount,
    maxConnectionDurationMs: durationMs(message?.maxConnectionDuration, 0),
    maxStreamDurationMs: durationMs(message?.maxStreamDuration, 0),
    maxRequestsPerConnection: message?.maxRequestsPerConnection ?? 0,
    headersWithUnderscores: known(
      underscores,
      message?.headersWithUnderscoresAction ?? Underscores.ALLOW,
      place,
      "headers_with_underscores_action",
    ),
  };
}

const serverHeaders: Readonly<Record<ServerHeader, HttpOptions["serverHeader"]>> = {
  [ServerHeader.OVERWRITE]: "overwrite",
  [ServerHeader.APPEND_IF_ABSENT]: "append-if-absent",
  [ServerHeader.PASS_THROUGH]: "pass-through",
};

const underscores: Readonly<Record<Underscores, HttpOptions["headersWithUnderscores"]>> = {
  [Underscores.ALLOW]: "allow",
  [Underscores.REJECT_REQUEST]: "reject",
  [Underscores.DROP_HEADER]: "drop",
};

const escapedSlashes: Readonly<Record<EscapedSlashes, HttpOptions["escapedSlashes"]>> = {
  // Envoy's default is KEEP_UNCHANGED unless its runtime says otherwise.
  [EscapedSlashes.IMPLEMENTATION_SPECIFIC_DEFAULT]: "keep",
  [EscapedSlashes.KEEP_UNCHANGED]: "keep",
  [EscapedSlashes.REJECT_REQUEST]: "reject",
  [EscapedSlashes.UNESCAPE_AND_REDIRECT]: "redirect",
  [EscapedSlashes.UNESCAPE_AND_FORWARD]: "forward",
};

/** What an enum value stands for; a value of a newer Envoy is a problem. */
function known<Value extends number, Meaning>(
  meanings: Readonly<Record<Value, Meaning>>,
  value: Value,
  place: Place,
  field: string,
): Meaning {
  if (!(value in meanings)) place.field(field).refuse(`unknown value ${value}`);
  return meanings[value];
}

function compileUpgrades(message: HttpConnectionManager, place: Place): ReadonlyMap<string, boolean> {
  const upgrades = new Map<string, boolean>();
  message.upgradeConfigs.forEach(({ upgradeType, enabled }, index) => {
    const type = upgradeType.toLowerCase();
    const at = place.item("upgrade_configs", index).field("upgrade_type");
    // CONNECT may be here; without a route for it nothing comes of it.
    if (type === "") at.refuse("must not be empty");
    if (upgrades.has(type)) at.refuse("this type is there already");
    upgrades.set(type, enabled ?? true);
  });
  return upgrades;
}
