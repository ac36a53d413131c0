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
const nothing = Buffer.alloc(0);

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

/** Of what a call's end says, in UTF-16 units: clients take 8 KiB of trailers, some of them less (envoy#9785). */
const DETAILS_LENGTH_MAX = 1024;

/** How a call is read and watched. */
export interface RawCallOptions {
  /** What all calls together may hold of messages that are not complete. */
  readonly incoming: Incoming;
  /** It reads and writes beneath the surface of node:http2, where it can; and can't be paused. */
  readonly direct: boolean;
  /** The client's own limit; undefined: none. */
  readonly timeoutMs?: number | undefined;
  /** It was ended by an error, whoever found it. */
  readonly onFailed?: (code: status) => void;
}

/** A call under way. Reading begins at once; whoever makes it gives it its listener in the same turn. */
export class RawCall {
  readonly credentials: Credentials;
  /** The client's "address:port". */
  readonly peer: string;
  readonly #stream: ServerHttp2Stream;
  /** Undefined: the stream reads and writes by itself. */
  readonly #handle: StreamHandle | undefined;
  readonly #reader: MessageReader;
  readonly #incoming: Incoming;
  readonly #onFailed: ((code: status) => void) | undefined;
  #paused = false;
  /** All has come that will. */
  #hasEnd = false;
  /** Bytes that the call counts as held. */
  #held = 0;
  #listener: CallListener | undefined;
  #deadline: NodeJS.Timeout | undefined;
  #ended = false;

  constructor(
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
    { incoming, direct, timeoutMs, onFailed }: RawCallOptions,
  ) {
    this.#stream = stream;
    this.#handle = direct ? StreamHandle.of(stream) : undefined;
    this.#incoming = incoming;
    this.#onFailed = onFailed;
    this.#reader = new MessageReader(incoming.messageBytesMax);
    const socket = stream.session?.socket;
    this.peer = `${socket?.remoteAddress ?? "unknown"}:${socket?.remotePort ?? 0}`;
    this.credentials = credentialsFrom(headers.authorization, certificateOf(socket));
    if (this.#handle === undefined) stream.on("data", (piece: Buffer) => this.#read(piece));
    else this.#handle.read((bytes) => this.#take(bytes));
    stream.on("end", () => {
      this.#hasEnd = true;
      // Node tells of the end of a paused stream, too, where it has nothing more to give.
      if (!this.#paused) this.#halfClose();
    });
    stream.on("close", () => this.#gone());
    // What went wrong with a stream, its "close" tells.
    stream.on("error", () => {});
    if (timeoutMs === undefined) return;
    const ring = () => this.#abort(status.DEADLINE_EXCEEDED, "the client's deadline has passed");
    this.#deadline = setTimeout(ring, timeoutMs).unref();
  }

  /** Who is told what happens from now on. */
  listen(listener: CallListener): void {
    this.#listener = listener;
  }

  /** No message comes until {@link resume}; the client soon can't send any more (RFC 9113, 5.2). */
  pause(): void {
    this.#paused = true;
    this.#stream.pause();
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    // What had come together with the message before.
    this.#read(nothing);
    if (this.#paused) return;
    if (this.#hasEnd) this.#halfClose();
    else this.#stream.resume();
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
    this.#hold(0);
    clearTimeout(this.#deadline);
    if (code !== status.OK) this.#onFailed?.(code);
    const stream = this.#stream;
    if (stream.destroyed || stream.closed) return;
    // What still comes is read and dropped.
    stream.resume();
    const trailers = { "grpc-status": code, "grpc-message": percentEncoded(details.slice(0, DETAILS_LENGTH_MAX)) };
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

  /** Bytes that are gone when this returns: nearly always a message, and no more. */
  #take(bytes: Buffer): void {
    if (this.#ended) return;
    const message = this.#reader.heldBytes === 0 ? soleMessage(bytes, this.#reader.bytesMax) : undefined;
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
        if (this.#paused) break;
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

  #halfClose(): void {
    if (this.#ended) return;
    if (this.#reader.heldBytes > 0) this.#abort(status.INVALID_ARGUMENT, "the last message is cut short");
    else this.#listener?.halfClosed();
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

  /** Ends a call that its listener would have gone on with. */
  #abort(code: status, details: string): void {
    if (this.#ended) return;
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
