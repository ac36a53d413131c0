import { isFieldSet } from "@bufbuild/protobuf";

import { type Http2ProtocolOptions, Http2ProtocolOptionsSchema } from "#envoy/config/core/v3/protocol_pb.ts";

import { durationMs, type Place } from "../compile.ts";
import type { Http2Options, KeepaliveOptions } from "./cluster.ts";

/**
 * Of an upstream HTTP/2 connection. Windows are smaller than Envoy's 16 and 24 MiB: what an endpoint may send ahead of a client that
 * reads slowly is held in memory, for each stream.
 */
export const http2Defaults: Http2Options = {
  maxConcurrentStreams: 1024,
  initialStreamWindowSize: 262_144,
  initialConnectionWindowSize: 1_048_576,
  hpackTableSize: 4096,
  keepalive: undefined,
  malformedEndsConnection: true,
};

/** HPACK tables, in bytes; what is larger costs every connection as much. */
const HPACK_TABLE_BYTES_MAX = 65_536;

/** Fields that a client of ours honours. */
const known = new Set([
  "hpack_table_size",
  "max_concurrent_streams",
  "initial_stream_window_size",
  "initial_connection_window_size",
  // Extended CONNECT is used wherever the endpoint's SETTINGS allow it.
  "allow_connect",
  "connection_keepalive",
  "override_stream_error_on_invalid_http_message",
]);

/** Compiles the Http2ProtocolOptions of a cluster. */
export function compileHttp2Options(message: Http2ProtocolOptions, place: Place): Http2Options {
  for (const field of Http2ProtocolOptionsSchema.fields) {
    if (isFieldSet(message, field) && !known.has(field.name)) {
      place.field(field.name).refuse("not supported in clusters");
    }
  }
  if (message.hpackTableSize !== undefined && message.hpackTableSize > HPACK_TABLE_BYTES_MAX) {
    place.field("hpack_table_size").refuse(`must be within [0, ${HPACK_TABLE_BYTES_MAX}]`);
  }
  return {
    maxConcurrentStreams: message.maxConcurrentStreams ?? http2Defaults.maxConcurrentStreams,
    initialStreamWindowSize: message.initialStreamWindowSize ?? http2Defaults.initialStreamWindowSize,
    initialConnectionWindowSize: message.initialConnectionWindowSize ?? http2Defaults.initialConnectionWindowSize,
    hpackTableSize: message.hpackTableSize ?? http2Defaults.hpackTableSize,
    keepalive: compileKeepalive(message, place.field("connection_keepalive")),
    malformedEndsConnection: message.overrideStreamErrorOnInvalidHttpMessage !== true,
  };
}

function compileKeepalive({ connectionKeepalive: message }: Http2ProtocolOptions, place: Place) {
  if (message === undefined) return undefined;
  if (message.connectionIdleInterval !== undefined) place.field("connection_idle_interval").refuse("not supported");
  if (message.intervalJitter !== undefined) place.field("interval_jitter").refuse("not supported");
  const keepalive: KeepaliveOptions = {
    intervalMs: durationMs(message.interval, 0),
    timeoutMs: durationMs(message.timeout, 0),
  };
  if (keepalive.timeoutMs <= 0) place.field("timeout").refuse("must be set");
  return keepalive;
}
