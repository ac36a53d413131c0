/**
 * A bidirectional gRPC call on an HTTP/2 stream, with its messages as bytes (gRPC over HTTP2). grpc-js makes two streams, a promise and a copy of
 * each message, which is most of what a small change costs when a thousand data planes want it.
 */
import { constants, type IncomingHttpHeaders, type ServerHttp2Stream } from "node:http2";

import { status } from "@grpc/grpc-js";

import { joinedMessage, MessageReader, messagePrefix, MessageTooLarge } from "./grpc-messages.ts";
import { certificateOf, type Credentials, credentialsFrom } from "./join.ts";

/** What happens to a call. Nothing happens any more once it was ended, or `gone` was called. */
export interface CallListener {
  /** The bytes are part of what was read from the network. */
  message(bytes: Buffer): void;
  /** The client says no more, but may read still. */
  halfClosed(): void;
  /** The client has gone, or the connection is lost. */
  gone(): void;
}

/** Up to so many bytes pieces are joined and written as one; longer ones are not copied. */
const JOINED_BYTES_MAX = 16 * 1024;
const MS_BY_UNIT: ReadonlyMap<string, number> = new Map([
  ...([
    ["H", 3_600_000],
    ["M", 60_000],
    ["S", 1_000],
    ["m", 1],
    ["u", 1e-3],
    ["n", 1e-6],
  ] as const),
]);
/** What setTimeout takes. */
const TIMEOUT_MS_MAX = 2 ** 31 - 1;

const { HTTP2_HEADER_CONTENT_TYPE, HTTP2_HEADER_STATUS } = constants;

/** A call under way. Reading begins at once; whoever makes it gives it its listener in the same turn. */
export class RawCall {
  readonly credentials: Credentials;
  /** The client's "address:port". */
  readonly peer: string;
  readonly #stream: ServerHttp2Stream;
  readonly #reader: MessageReader;
  #listener: CallListener | undefined;
  #deadline: NodeJS.Timeout | undefined;
  #ended = false;

  /** @param requestBytesMax a longer message ends the call with RESOURCE_EXHAUSTED */
  constructor(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, requestBytesMax: number) {
    this.#stream = stream;
    this.#reader = new MessageReader(requestBytesMax);
    const socket = stream.session?.socket;
    this.peer = `${socket?.remoteAddress ?? "unknown"}:${socket?.remotePort ?? 0}`;
    this.credentials = credentialsFrom(headers.authorization, certificateOf(socket));
    stream.on("data", (piece: Buffer) => this.#read(piece));
    stream.on("end", () => {
      if (this.#ended) return;
      if (this.#reader.isAmid) this.#abort(status.INVALID_ARGUMENT, "the last message is cut short");
      else this.#listener?.halfClosed();
    });
    stream.on("close", () => this.#gone());
    // What went wrong with a stream, its "close" tells.
    stream.on("error", () => {});
    this.#limitTime(headers["grpc-timeout"]);
  }

  /** Who is told what happens from now on. */
  listen(listener: CallListener): void {
    this.#listener = listener;
  }

  /**
   * Writes a message. @param pieces its bytes, one behind the other; they must not change any more
   * @param sent is called when it has left for the network, and never if the call ends before
   */
  send(pieces: readonly Uint8Array[], sent: () => void): void {
    const stream = this.#stream;
    // Its "close" is on its way.
    if (this.#ended || stream.destroyed || stream.closed) return;
    if (!stream.headersSent) stream.respond(responseHeaders, { waitForTrailers: true });
    const written = (error: Error | null | undefined) => {
      if (error === null || error === undefined) sent();
    };
    const length = pieces.reduce((sum, piece) => sum + piece.length, 0);
    if (length <= JOINED_BYTES_MAX) {
      stream.write(joinedMessage(pieces, length), written);
      return;
    }
    const last = pieces.at(-1);
    stream.cork();
    stream.write(messagePrefix(length));
    for (const piece of pieces.slice(0, -1)) stream.write(piece);
    stream.write(last, written);
    stream.uncork();
  }

  /** Ends the call. @param details for whoever runs the client; without control characters that would need care */
  end(code: status, details = ""): void {
    if (this.#ended) return;
    this.#ended = true;
    clearTimeout(this.#deadline);
    const stream = this.#stream;
    if (stream.destroyed || stream.closed) return;
    const trailers = { "grpc-status": code, "grpc-message": percentEncoded(details) };
    if (!stream.headersSent) {
      stream.respond({ ...responseHeaders, ...trailers }, { endStream: true });
      setImmediate(() => this.#drop());
      return;
    }
    stream.once("wantTrailers", () => {
      stream.sendTrailers(trailers);
      setImmediate(() => this.#drop());
    });
    stream.end();
  }

  /** A client that goes on although all is said would keep the stream for as long as its connection lasts (RFC 9113, 8.1). */
  #drop(): void {
    const stream = this.#stream;
    if (!stream.readableEnded && !stream.destroyed) stream.close(constants.NGHTTP2_NO_ERROR);
  }

  #read(piece: Buffer): void {
    // What comes after the end is read and dropped, as it takes part in flow control.
    if (this.#ended) return;
    try {
      for (const { isCompressed, bytes } of this.#reader.read(piece)) {
        if (isCompressed) this.#abort(status.UNIMPLEMENTED, "compressed messages are not taken");
        if (this.#ended) return;
        this.#listener?.message(bytes);
      }
    } catch (error) {
      if (!(error instanceof MessageTooLarge)) throw error;
      this.#abort(status.RESOURCE_EXHAUSTED, error.message);
    }
  }

  #gone(): void {
    clearTimeout(this.#deadline);
    if (this.#ended) return;
    this.#ended = true;
    this.#listener?.gone();
  }

  /** The client's own limit (gRPC over HTTP2, "Timeout"). */
  #limitTime(timeout: string | string[] | undefined): void {
    if (typeof timeout !== "string") return;
    const [, value, unit] = /^(\d{1,8})([HMSmun])$/.exec(timeout) ?? [];
    const delayMs = Number(value) * (MS_BY_UNIT.get(unit ?? "") ?? Number.NaN);
    if (!(delayMs <= TIMEOUT_MS_MAX)) return;
    const ring = () => this.#abort(status.DEADLINE_EXCEEDED, "the client's deadline has passed");
    this.#deadline = setTimeout(ring, delayMs).unref();
  }

  /** Ends a call that its listener would have gone on with. */
  #abort(code: status, details: string): void {
    this.end(code, details);
    this.#listener?.gone();
  }
}

/** Of a status message (gRPC over HTTP2, "Percent-Encoded"): all but printable ASCII, and the percent sign itself. */
const percentEncoded = (text: string): string =>
  text.replace(/[^ -$&-~]+/g, (piece) => Buffer.from(piece).toString("hex").toUpperCase().replace(/../g, "%$&"));

const responseHeaders = {
  [HTTP2_HEADER_STATUS]: 200,
  [HTTP2_HEADER_CONTENT_TYPE]: "application/grpc+proto",
  "grpc-accept-encoding": "identity",
};
