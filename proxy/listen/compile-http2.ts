import type { Http2ProtocolOptions } from "#envoy/config/core/v3/protocol_pb.ts";

import { durationMs, type Place } from "../compile.ts";
import { edgeDefaults, type Http2Options, WINDOW_BYTES_MAX, WINDOW_BYTES_MIN } from "../http2/options.ts";

/** HPACK tables, in bytes; what is larger costs every connection as much. */
const HPACK_TABLE_BYTES_MAX = 65_536;
/** Http2ProtocolOptions.max_concurrent_streams: "Valid values range from 1 to 2147483647". */
const STREAMS_MAX = 2 ** 31 - 1;
/** KeepaliveSettings.interval and timeout: at least 1 ms. */
const KEEPALIVE_MS_MIN = 1;

/** The HTTP/2 options of a listener. What is not set gets the defaults for an edge proxy, not Envoy's. */
export function compileHttp2Options(message: Http2ProtocolOptions | undefined, place: Place): Http2Options {
  if (message === undefined) return edgeDefaults;
  const within = (value: number | undefined, otherwise: number, name: string, min: number, max: number): number => {
    const chosen = value ?? otherwise;
    if (chosen < min || chosen > max) place.field(name).refuse(`must be within [${min}, ${max}]`);
    return chosen;
  };
  const { maxConcurrentStreams, hpackTableBytes, streamWindowBytes, connectionWindowBytes } = edgeDefaults;
  const { initialStreamWindowSize, initialConnectionWindowSize, connectionKeepalive: keepalive } = message;
  const keepaliveIntervalMs = durationMs(keepalive?.interval, 0);
  const keepaliveTimeoutMs = durationMs(keepalive?.timeout, 0);
  if (keepaliveIntervalMs > 0 && keepaliveTimeoutMs < KEEPALIVE_MS_MIN) {
    place.field("connection_keepalive").field("timeout").refuse("must be at least 1 ms");
  }
  return {
    maxConcurrentStreams: within(
      message.maxConcurrentStreams,
      maxConcurrentStreams,
      "max_concurrent_streams",
      1,
      STREAMS_MAX,
    ),
    hpackTableBytes: within(message.hpackTableSize, hpackTableBytes, "hpack_table_size", 0, HPACK_TABLE_BYTES_MAX),
    streamWindowBytes: within(
      initialStreamWindowSize,
      streamWindowBytes,
      "initial_stream_window_size",
      WINDOW_BYTES_MIN,
      WINDOW_BYTES_MAX,
    ),
    connectionWindowBytes: within(
      initialConnectionWindowSize,
      connectionWindowBytes,
      "initial_connection_window_size",
      WINDOW_BYTES_MIN,
      WINDOW_BYTES_MAX,
    ),
    allowConnect: message.allowConnect,
    keepaliveIntervalMs,
    keepaliveTimeoutMs,
    // Envoy ends the connection unless it is told otherwise; we do so where we are told.
    malformedEndsConnection: message.overrideStreamErrorOnInvalidHttpMessage === false,
  };
}
