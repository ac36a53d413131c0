import type { IncomingHttpHeaders, ServerHttp2Stream } from "node:http2";

import type { Server } from "@grpc/grpc-js";

import { type Incoming, RawCall } from "./raw-call.ts";

type StreamHandler = (interceptors: unknown, stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void;

/**
 * Takes the calls of some methods off grpc-js, which goes on with connections, TLS, keepalive and all other methods. It has no public way to that: this is the
 * method to which it gives each HTTP/2 stream while channelz is off.
 *
 * @param server not bound yet
 * @param handlers by path
 * @throws Error if this grpc-js is built otherwise
 */
export function handleDirectly(
  server: Server,
  handlers: ReadonlyMap<string, (call: RawCall) => void>,
  incoming: Incoming,
): void {
  const within = server as unknown as { _streamHandler?: StreamHandler };
  const others = within._streamHandler;
  if (typeof others !== "function") throw new Error("this version of grpc-js hands streams over in another way");
  within._streamHandler = (interceptors, stream, headers) => {
    const handler = handlers.get(headers[":path"] ?? "");
    if (handler === undefined || !isGrpc(headers)) others.call(server, interceptors, stream, headers);
    else handler(new RawCall(stream, headers, incoming));
  };
}

/** Whatever else comes to these paths gets grpc-js's answer. */
const isGrpc = ({ ":method": method, "content-type": contentType }: IncomingHttpHeaders): boolean =>
  method === "POST" && contentType?.startsWith("application/grpc") === true;
