import type { BodyReader } from "../http1/body.ts";
import type { ResponseMessage } from "../http1/response-head.ts";
import { isBodiless } from "../http1/write.ts";

/**
 * Prepares `body` for what follows a response's head (RFC 9112, 6.3). `last`: nothing has come behind the head yet. Returns whether the
 * connection can be used again after it.
 */
export function startResponseBody(body: BodyReader, message: ResponseMessage, method: string, last: boolean): boolean {
  let reusable = last || message.chunked || message.contentLength > 0;
  if (message.close || (message.isHttp10 && !message.keepAlive)) reusable = false;
  if (isBodiless(message.status, method)) {
    body.startLength(0);
    // A body where none may be would be taken for the answer to the next request.
    return reusable && last;
  }
  if (message.chunked) body.startChunked();
  else if (message.contentLength >= 0) body.startLength(message.contentLength);
  else {
    body.startUntilClose();
    return false;
  }
  return reusable;
}
