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

/** What calls may hold of messages that have begun: half messages of many would be much, and nobody has been asked yet who they are. */
export interface Incoming {
  /** A longer message ends its call with RESOURCE_EXHAUSTED. */
  readonly messageBytesMax: number;
  /** Beyond that the call that wants more ends with RESOURCE_EXHAUSTED, unless what it holds is little. */
  readonly bytesMax: number;
  /** Of all calls together, now. */
  bytes: number;
}

/** So much a call may hold in any case: what most requests are. */
const HELD_BYTES_FREE = 64 * 1024;

/** A call under way. Reading begins at once; whoever makes it gives it its listener in the same turn. */
export class RawCall {
  readonly credentials: Credentials;
  /** The client's "address:port". */
  readonly peer: string;
  readonly #stream: ServerHttp2Stream;
  readonly #reader: MessageReader;
  readonly #incoming: Incoming;
  /** Bytes that the call counts as held. */
  #held = 0;
  #listener: CallListener | undefined;
  #deadline: NodeJS.Timeout | undefined;
  #ended = false;

  /** @param incoming what all calls together may hold of messages that are not complete */
  constructor(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, incoming: Incoming) {
    this.#stream = stream;
    this.#incoming = incoming;
    this.#reader = new MessageReader(incoming.messageBytesMax);
    const socket = stream.session?.socket;
    this.peer = `${socket?.remoteAddress ?? "unknown"}:${socket?.remotePort ?? 0}`;
    this.credentials = credentialsFrom(headers.authorization, certificateOf(socket));
    stream.on("data", (piece: Buffer) => this.#read(piece));
    stream.on("end", () => {
      if (this.#ended) return;
      if (this.#reader.heldBytes > 0) this.#abort(status.INVALID_ARGUMENT, "the last message is cut short");
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
    this.#hold(0);
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
      this.#hold(this.#reader.heldBytes);
      if (this.#held > HELD_BYTES_FREE && this.#incoming.bytes > this.#incoming.bytesMax) {
        this.#abort(status.RESOURCE_EXHAUSTED, "too much is received at once; try again later");
      }
    } catch (error) {
      if (!(error instanceof MessageTooLarge)) throw error;
      this.#abort(status.RESOURCE_EXHAUSTED, error.message);
    }
  }

  #hold(bytes: number): void {
    const held = this.#ended ? 0 : bytes;
    this.#incoming.bytes += held - this.#held;
    this.#held = held;
  }

  #gone(): void {
    clearTimeout(this.#deadline);
    this.#hold(0);
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
