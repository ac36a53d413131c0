import { isGrpc } from "../grpc-status.ts";
import type { Headers } from "../headers.ts";
import type { LocalReply } from "../reply.ts";
import { toTrailersOnly } from "./grpc.ts";
import type { Stream } from "./stream.ts";

const NO_BODY = Buffer.alloc(0);

/**
 * What the client of `stream` gets of a reply of ours: rewritten by the listener's local_reply_config, as trailers-only for gRPC. Adds the fields
 * of the body to `headers`, which has the reply's own and the route's.
 */
export function renderReply(stream: Stream, reply: LocalReply, headers: Headers): { status: number; body: Buffer } {
  let { status } = reply;
  let body = typeof reply.body === "string" ? Buffer.from(reply.body) : Buffer.from(reply.body);
  let contentType = "text/plain";
  const { localReplies } = stream.options;
  if (localReplies !== undefined) {
    stream.record.status = status;
    const rewritten = localReplies(body.toString(), headers, stream.record);
    ({ status, contentType } = rewritten);
    body = Buffer.from(rewritten.body);
  }
  if (isGrpc(stream.head.headers)) {
    // To HEAD, nothing of a body is said.
    toTrailersOnly(headers, status, stream.head.method === "HEAD" ? "" : body.toString(), reply.grpcStatus);
    return { status: 200, body: NO_BODY };
  }
  if (body.length > 0) {
    headers.add("content-length", String(body.length));
    if (!headers.has("content-type")) headers.add("content-type", contentType);
  }
  return { status, body };
}

/** Flags of responses that broke off, where it isn't that of a lost connection. */
const cutFlags: Readonly<Record<string, string>> = {
  "protocol error": "UPE",
  "response timeout": "UT",
  "remote reset": "UR",
  "remote refused stream reset": "UR",
  "per try idle timeout": "SI",
};

/** Envoy's flag of a response that the upstream broke off for `reason`. */
export const cutFlag = (reason: string): string => cutFlags[reason] ?? "UC";
