/** From HTTP/2 streams to calls of methods, and what everything else gets (gRPC over HTTP2, "Requests"). */
import { constants, type IncomingHttpHeaders, type OutgoingHttpHeaders, type ServerHttp2Stream } from "node:http2";

import type { DescMethod } from "@bufbuild/protobuf";
import { status } from "@grpc/grpc-js";

import { timeoutMsOf } from "./grpc-timeout.ts";
import { type Incoming, RawCall } from "./raw-call.ts";

/** What serves the calls of a method. */
export interface CallHandler {
  readonly open: (call: RawCall) => void;
  readonly incoming: Incoming;
  /** As in RawCallOptions. */
  readonly direct: boolean;
}

/** Methods by their path: "/package.Service/Method". */
export type CallHandlers = ReadonlyMap<string, CallHandler>;

/** The path of a method. */
export const pathOf = ({ parent, name }: DescMethod): string => `/${parent.typeName}/${name}`;

const { HTTP2_HEADER_STATUS, NGHTTP2_NO_ERROR } = constants;

/** Of a path that is shown again, in UTF-16 units. */
const PATH_LENGTH_MAX = 200;

/**
 * Makes what takes the streams of connections.
 *
 * @param incoming of calls that no method takes
 * @param onFailed counts a call that ended with an error; the service is empty for one that there is not
 */
export function callRouter(
  handlers: CallHandlers,
  incoming: Incoming,
  onFailed: (service: string, code: status) => void,
): (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void {
  return (stream, headers) => {
    const { ":path": path = "", ":method": method, "content-type": contentType = "" } = headers;
    if (method !== "POST") {
      refuse(
        stream,
        { [HTTP2_HEADER_STATUS]: 405, allow: "POST" },
        "this port speaks gRPC, whose calls are POST requests",
      );
      return;
    }
    // Of gRPC's formats this is the one that is spoken; one that is not named means it too.
    if (!/^application\/grpc(\+proto)?(?![\w.+-])/i.test(contentType)) {
      refuse(stream, { [HTTP2_HEADER_STATUS]: 415 }, "this port speaks gRPC: content-type must be application/grpc");
      return;
    }
    const handler = handlers.get(path);
    const service = handler === undefined ? "" : path.slice(1, path.lastIndexOf("/"));
    const timeoutMs = timeoutMsOf(headers["grpc-timeout"]);
    const call = new RawCall(stream, headers, {
      incoming: handler?.incoming ?? incoming,
      direct: handler?.direct ?? false,
      timeoutMs: timeoutMs === "invalid" ? undefined : timeoutMs,
      onFailed: (code) => onFailed(service, code),
    });
    if (handler === undefined) {
      call.end(status.UNIMPLEMENTED, `there is no method ${path.slice(0, PATH_LENGTH_MAX)} on this port`);
    } else if (timeoutMs === "invalid") {
      call.end(status.INVALID_ARGUMENT, "grpc-timeout is no time");
    } else handler.open(call);
  };
}

/** Answers what is no gRPC at all. */
function refuse(stream: ServerHttp2Stream, headers: OutgoingHttpHeaders, why: string): void {
  stream.on("error", () => {});
  stream.resume();
  stream.respond({ ...headers, "content-type": "text/plain; charset=utf-8" });
  stream.end(`${why}\n`);
  // Whatever else comes of the request is of no use.
  stream.once("finish", () => setImmediate(() => stream.close(NGHTTP2_NO_ERROR)));
}
