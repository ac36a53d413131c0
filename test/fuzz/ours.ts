import type { RequestMessage } from "../../proxy/http1/request-head.ts";
import { type RequestHandler, RequestReader } from "../../proxy/http1/request-reader.ts";
import { TestStats } from "../support/test-stats.ts";
import type { ReadRequest, RequestReading } from "./reading.ts";

const LIMITS = { maxHeadersCount: 100, headersWithUnderscores: "allow" } as const;
const HEAD_BYTES_MAX = 60 * 1024;
const stats = new TestStats().http1();

/**
 * Reads the pieces, one after the other, by the proxy's own codec. Like the proxy it refuses CONNECT, and stops behind a request that is the
 * connection's last, or asks for an upgrade: that is either forbidden, which closes the connection, or makes of the rest what is no HTTP.
 */
export function readByOurs(pieces: readonly Buffer[], acceptHttp10: boolean): RequestReading {
  const reading: RequestReading = { requests: [], refused: false };
  let current: ReadRequest | undefined;
  let last = false;
  const handler: RequestHandler = {
    onHeadBegun: () => {},
    onRequestHead(message, end) {
      if (message.method === "CONNECT") {
        reading.refused = true;
        return;
      }
      current = toRequest(message);
      current.complete = end;
      reading.requests.push(current);
      const upgrade = message.connectionUpgrade && message.upgrade !== "";
      current.upgrade = upgrade;
      last = upgrade || message.close || (message.isHttp10 && !message.keepAlive);
    },
    onBody(bytes, from, to) {
      if (current !== undefined) current.body += bytes.toString("latin1", from, to);
    },
    onRequestEnd() {
      if (current !== undefined) current.complete = true;
    },
    onViolation() {
      reading.refused = true;
    },
  };
  const reader = new RequestReader(handler, false, stats);
  for (const piece of pieces) {
    let at = 0;
    while (at < piece.length && !reading.refused && !(last && current?.complete === true)) {
      at = reader.read(piece, at, HEAD_BYTES_MAX, { ...LIMITS, acceptHttp10 });
    }
  }
  return reading;
}

const toRequest = (message: RequestMessage): ReadRequest => ({
  method: message.method,
  target: message.path,
  authority: message.authority,
  fields: message.headers.names.map((name, i) => [name, message.headers.values[i] ?? ""]),
  body: "",
  complete: false,
});
