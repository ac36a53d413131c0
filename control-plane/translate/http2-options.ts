import { create } from "@bufbuild/protobuf";

import { type Http2ProtocolOptions, Http2ProtocolOptionsSchema } from "#envoy/config/core/v3/protocol_pb.ts";
import type { Listener } from "#sluice/model/v1/gateway_group_pb.ts";

const STREAMS_MAX = 100;
const STREAM_WINDOW_BYTES = 65_536;
const CONNECTION_WINDOW_BYTES = 1_048_576;

/** Whether a listener lets its clients speak HTTP/2. */
export const speaksHttp2 = ({ http2 }: Pick<Listener, "http2">): boolean => http2 ?? true;

/**
 * HTTP/2 for clients of whom nothing is known. Said aloud, since Envoy's own defaults (1024 streams, windows of 16 and 24 MiB) let one
 * client fill gigabytes.
 * https://www.envoyproxy.io/docs/envoy/latest/configuration/best_practices/edge
 */
export const toHttp2Options = (): Http2ProtocolOptions =>
  create(Http2ProtocolOptionsSchema, {
    maxConcurrentStreams: STREAMS_MAX,
    initialStreamWindowSize: STREAM_WINDOW_BYTES,
    initialConnectionWindowSize: CONNECTION_WINDOW_BYTES,
    // WebSocket over HTTP/2 (RFC 8441); whether a route takes it is the route's to say.
    allowConnect: true,
  });
