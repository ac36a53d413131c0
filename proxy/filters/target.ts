import { type LocalReply, redirect, replies } from "../reply.ts";
import { normalizeAuthority } from "./authority.ts";
import type { IncomingRequest } from "./downstream.ts";
import { normalizePath } from "./path.ts";
import type { Stream } from "./stream.ts";

/**
 * Makes the one target that is routed, authorised and forwarded, and puts it into the stream's head. Returns the answer to a request whose target
 * can't be.
 */
export function normalizeTarget(stream: Stream, { path, authority, isPlain }: IncomingRequest): LocalReply | undefined {
  const { head, listener, options } = stream;
  if (path === "*") return replies.pathRejected;
  if (isPlain === true) {
    head.authority = normalizeAuthority(authority, listener.port, options);
    return undefined;
  }
  const normalized = normalizePath(path, options);
  if (normalized.kind === "reject") {
    listener.stats.downstream_rq_failed_path_normalization.inc();
    return replies.pathNormalizationFailed;
  }
  if (normalized.kind === "redirect") {
    listener.stats.downstream_rq_redirected_with_normalized_path.inc();
    return redirect(307, onThisHost(normalized.path), "path_normalization_failed");
  }
  head.path = normalized.path;
  head.authority = normalizeAuthority(authority, listener.port, options);
  return undefined;
}

/**
 * A path as a reference: two slashes at its begin would name another host (RFC 3986, 4.2), by which any site could have ours lead to it; browsers
 * take a backslash for a slash. Envoy sends it as it is.
 */
const onThisHost = (path: string): string => (/^\/[/\\]/.test(path) ? `/.${path}` : path);

/** Takes a request's head over from the codec, as it came, and counts it. */
export function takeHead({ head, record, listener }: Stream, message: IncomingRequest): void {
  head.method = message.method;
  head.headers = message.headers;
  head.authority = message.authority;
  head.path = message.path;
  record.head = head;
  record.originalPath = message.path;
  record.protocol = message.protocol;
  if (message.protocol === "HTTP/2") listener.stats.downstream_rq_http2_total.inc();
  else listener.stats.downstream_rq_http1_total.inc();
}
