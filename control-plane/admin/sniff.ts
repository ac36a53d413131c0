import type { Socket } from "node:net";

/** What an HTTP/2 client says first (RFC 9113, 3.4). */
const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");

/** A client that has not said anything by then is not waited for. */
const SILENCE_MS_MAX = 30_000;

/**
 * Reads as much of a new connection as it takes to see which HTTP it speaks, and hands the connection on unread: a client of HTTP/2
 * without TLS says so by its preface alone (RFC 9113, 3.3).
 */
export function sniffHttpVersion(socket: Socket, onKnown: (version: "1.1" | "2") => void): void {
  let seen = Buffer.alloc(0);
  const done = () => {
    socket.off("readable", onReadable).off("error", onEnd).off("end", onEnd).off("timeout", onEnd);
    socket.setTimeout(0);
  };
  const onEnd = () => {
    done();
    socket.destroy();
  };
  const onReadable = () => {
    const chunk = socket.read() as Buffer | null;
    if (chunk === null) return;
    seen = Buffer.concat([seen, chunk]);
    const length = Math.min(seen.length, PREFACE.length);
    const alike = seen.subarray(0, length).equals(PREFACE.subarray(0, length));
    if (alike && length < PREFACE.length) return;
    done();
    socket.unshift(seen);
    onKnown(alike ? "2" : "1.1");
  };
  socket.setTimeout(SILENCE_MS_MAX);
  socket.on("readable", onReadable).on("error", onEnd).on("end", onEnd).on("timeout", onEnd);
}
