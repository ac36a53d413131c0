/**
 * A bidirectional gRPC call on an HTTP/2 stream, with its messages as bytes (gRPC over HTTP2). grpc-js makes two streams, a promise and a copy of
 * each message, which is most of what a small change costs when a thousand data planes want it.
 */
import { constants, type IncomingHttpHeaders, type ServerHttp2Stream } from "node:http2";

import { status } from "@grpc/grpc-js";

import { joinedMessage, MessageReader, messagePrefix, MessageTooLarge, soleMessage } from "./grpc-messages.ts";
import { certificateOf, type Credentials, credentialsFrom } from "./join.ts";
import { StreamHandle } from "./stream-handle.ts";

/** What happens to a call. Nothing happens any more once it was ended, or `gone` was called. */
export interface CallListener {
  /** The bytes are where the network was read to, and others when this returns. */
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
  /** Undefined: the stream reads and writes by itself. */
  readonly #handle: StreamHandle | undefined;
  readonly #reader: MessageReader;
  #listener: CallListener | undefined;
  #deadline: NodeJS.Timeout | undefined;
  #ended = false;

  /** @param requestBytesMax a longer message ends the call with RESOURCE_EXHAUSTED */
  constructor(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, requestBytesMax: number) {
    this.#stream = stream;
    this.#handle = StreamHandle.of(stream);
    this.#reader = new MessageReader(requestBytesMax);
    const socket = stream.session?.socket;
    this.peer = `${socket?.remoteAddress ?? "unknown"}:${socket?.remotePort ?? 0}`;
    this.credentials = credentialsFrom(headers.authorization, certificateOf(socket));
    if (this.#handle === undefined) stream.on("data", (piece: Buffer) => this.#read(piece));
    else this.#handle.read((bytes) => this.#take(bytes));
    stream.on("end", () => {
      if (!this.#ended) this.#listener?.halfClosed();
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
    const length = pieces.reduce((sum, piece) => sum + piece.length, 0);
    const written = length <= JOINED_BYTES_MAX ? [joinedMessage(pieces, length)] : [messagePrefix(length), ...pieces];
    if (this.#handle?.write(written, sent) === true) return;
    stream.cork();
    for (const [at, piece] of written.entries()) {
      // What is not last needs nobody who hears of it.
      if (at < written.length - 1) stream.write(piece);
      else stream.write(piece, (error) => (error === null || error === undefined ? sent() : undefined));
    }
    stream.uncork();
  }

  /** Ends the call. @param details for whoever runs the client; without control characters that would need care */
  end(code: status, details = ""): void {
    if (this.#ended) return;
    this.#ended = true;
    clearTimeout(this.#deadline);
    const stream = this.#stream;
    if (stream.destroyed || stream.closed) return;
    const trailers = { "grpc-status": code, "grpc-message": encodeURIComponent(details).replaceAll("%20", " ") };
    if (!stream.headersSent) {
      stream.respond({ ...responseHeaders, ...trailers }, { endStream: true });
      return;
    }
    stream.once("wantTrailers", () => stream.sendTrailers(trailers));
    stream.end();
  }

  /** Bytes that are gone when this returns: nearly always a message, and no more. */
  #take(bytes: Buffer): void {
    if (this.#ended) return;
    const message = this.#reader.isEmpty ? soleMessage(bytes, this.#reader.bytesMax) : undefined;
    if (message === undefined) this.#read(Buffer.from(bytes));
    else this.#listener?.message(message);
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

const responseHeaders = {
  [HTTP2_HEADER_STATUS]: 200,
  [HTTP2_HEADER_CONTENT_TYPE]: "application/grpc+proto",
  "grpc-accept-encoding": "identity",
};
