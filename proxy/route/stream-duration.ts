import type { RouteAction } from "#envoy/config/route/v3/route_components_pb.ts";

import { durationMs, type Place } from "../compile.ts";
import { grpcTimeoutMs, toGrpcTimeout } from "../filters/grpc.ts";
import { isGrpc } from "../grpc-status.ts";
import type { Headers } from "../headers.ts";
import type { RequestHead } from "../request.ts";

/** How long a whole stream of a route may take, in ms; 0: as long as it likes; undefined: the listener decides. */
export type StreamDuration = (head: RequestHead) => number | undefined;

/**
 * Compiles RouteAction.max_stream_duration, as Envoy's ConnectionManagerImpl::ActiveStream::refreshDurationTimeout reads it: with
 * grpc_timeout_header_max a request's own grpc-timeout counts, up to that (0: whatever it is), less the offset. The upstream of a gRPC call is told
 * how long it has, be that the client's wish or the route's.
 */
export function compileStreamDuration(action: RouteAction, place: Place): StreamDuration | undefined {
  const message = action.maxStreamDuration;
  if (message === undefined) return undefined;
  const at = place.field("max_stream_duration");
  const limitMs = durationMs(message.maxStreamDuration, undefined);
  const headerMaxMs = durationMs(message.grpcTimeoutHeaderMax, undefined);
  const offsetMs = durationMs(message.grpcTimeoutHeaderOffset, 0);
  for (const [name, ms] of [
    ["max_stream_duration", limitMs],
    ["grpc_timeout_header_max", headerMaxMs],
    ["grpc_timeout_header_offset", offsetMs],
  ] as const) {
    if (ms !== undefined && ms < 0) at.field(name).refuse("must not be negative");
  }
  return ({ headers }) => {
    const asked = headerMaxMs === undefined ? undefined : grpcTimeoutMs(headers);
    if (headerMaxMs === undefined || asked === undefined) {
      if (limitMs !== undefined && limitMs > 0) tellUpstream(headers, limitMs);
      return limitMs;
    }
    const capped = headerMaxMs === 0 ? asked : Math.min(asked, headerMaxMs);
    const ms = Math.max(0, capped - offsetMs);
    tellUpstream(headers, ms);
    // Nothing left is over at once; 0 would mean no end.
    return Math.max(ms, 1);
  };
}

function tellUpstream(headers: Headers, ms: number): void {
  if (isGrpc(headers)) headers.set("grpc-timeout", toGrpcTimeout(ms));
}
