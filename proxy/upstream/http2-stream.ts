import { type ClientHttp2Session, type ClientHttp2Stream, constants } from "node:http2";

import { Headers } from "../headers.ts";
import type { ResetReason } from "../reply.ts";
import type { Http2Connection } from "./http2-connection.ts";
import { addFields, fieldsOf, type Http2RequestHead, objectOf, parseHead } from "./http2-fields.ts";
import type { ResponseReceiver } from "./response-receiver.ts";
import { webSocketAccept } from "./websocket-accept.ts";

/** More 1xx responses than this before the one is a flood. */
const INFORMATIONAL_MAX = 16;

/** One request on an HTTP/2 connection; what ClientConnection is for HTTP/1. */
export class Http2ClientStream {
  readonly isHttp2 = true;
  /** Whether the connection had carried a request before. */
  readonly reused: boolean;
  /** Whether anything of the response has arrived. */
  responseBegun = false;

  readonly #connection: Http2Connection;
  #receiver: ResponseReceiver | undefined = undefined;
  #stream: ClientHttp2Stream | undefined = undefined;
  /** The request's head and the first of its body, until flush(). */
  #head: Http2RequestHead | undefined = undefined;
  #pieces: Buffer[] = [];
  /** Whether part of the response waits to be flushed. */
  #unflushed = false;
  #method = "";
  #upgrade = "";
  #webSocketKey: string | undefined = undefined;
  #raw = false;
  #broken = false;
  #requestDone = false;
  #requestTrailers: Headers | undefined = undefined;
  #informational = 0;
  #expectedBytes = -1;
  #receivedBytes = 0;
  #responseTrailers: Headers | undefined = undefined;
  /** Whether the endpoint said that the response ends here (END_STREAM). */
  #finished = false;

  constructor(connection: Http2Connection, reused: boolean) {
    this.#connection = connection;
    this.reused = reused;
  }

  get localAddress(): string | undefined {
    return this.#connection.localAddress;
  }

  /** Whether the endpoint gave the stream back by GOAWAY, and so has not looked at it. */
  get givenBack(): boolean {
    return this.#connection.goneAway;
  }

  /** Takes the head; it leaves at flush(), with what of the body is there by then. The response goes to `receiver`. */
  sendRequest(receiver: ResponseReceiver, head: Http2RequestHead): void {
    this.#receiver = receiver;
    this.#head = head;
    this.#upgrade = head.upgrade;
    if (head.upgrade.toLowerCase() === "websocket") this.#webSocketKey = head.headers.get("sec-websocket-key");
  }

  /** A piece of the request's body, which stays as it is. False: wait for onUpstreamWritable(). */
  sendData(bytes: Buffer): boolean {
    if (this.#requestDone) return true;
    const stream = this.#stream;
    if (stream === undefined) {
      this.#pieces.push(bytes);
      return true;
    }
    if (!stream.writable || stream.write(bytes)) return true;
    stream.once("drain", () => this.#receiver?.onUpstreamWritable());
    return false;
  }

  /** The request is complete. */
  sendEnd(trailers?: Headers): void {
    // An upgrade goes on after its head.
    if (this.#requestDone || (this.#upgrade !== "" && !this.#raw)) return;
    this.#requestDone = true;
    this.#requestTrailers = trailers;
    this.#stream?.end();
  }

  /** Opens the stream; what is written after that, Node gathers by itself. */
  flush(): void {
    const head = this.#head;
    if (head === undefined || this.#stream !== undefined || this.#receiver === undefined) return;
    this.#head = undefined;
    this.#method = head.method;
    const { session } = this.#connection;
    if (session === undefined) {
      // It ended between being chosen and being used.
      this.#connection.onStreamClosed(this);
      return this.#reset(this.#connection.ended ?? "connection termination");
    }
    this.#open(session, head);
  }

  #open(session: ClientHttp2Session, head: Http2RequestHead): void {
    const pieces = this.#pieces;
    this.#pieces = [];
    const done = this.#requestDone;
    // Without trailers the last DATA frame, or the head, ends the request: no frame and no event more than it needs.
    const mayTrail = head.upgrade === "" && (!done || this.#requestTrailers !== undefined);
    const endStream = done && !mayTrail && pieces.length === 0;
    const stream = session.request(fieldsOf(head), { endStream, waitForTrailers: mayTrail });
    this.#stream = stream;
    onEndStream(stream, () => (this.#finished = true));
    if (mayTrail) stream.on("wantTrailers", () => stream.sendTrailers(objectOf(this.#requestTrailers)));
    stream
      .on("response", (_, flags, raw) => this.#onResponse(flags, raw as unknown as string[]))
      .on("headers", (_, __, raw) => this.#onInformational(raw as unknown as string[]))
      .on("trailers", (_, __, raw) => this.#onTrailers(raw as unknown as string[]))
      .on("data", (bytes: Buffer) => this.#onData(bytes))
      .on("end", () => this.#onEnd())
      // What went wrong is in its rstCode, unless the whole connection did.
      .on("error", ({ code }: NodeJS.ErrnoException) => {
        this.#broken = isBrokenProtocol(code);
      })
      .on("close", () => this.#onClose(stream.rstCode));
    if (endStream) return;
    const piece = pieces.length > 1 ? Buffer.concat(pieces) : pieces[0];
    if (done) stream.end(piece);
    else if (piece !== undefined && !stream.write(piece)) {
      stream.once("drain", () => this.#receiver?.onUpstreamWritable());
    }
  }

  pause(): void {
    this.#stream?.pause();
  }

  resume(): void {
    this.#stream?.resume();
  }

  /** The receiver wants no more. */
  abandon(): void {
    this.#receiver = undefined;
    this.#cancel();
  }

  /** The connection is gone. */
  onConnectionEnded(reason: ResetReason): void {
    // A stream that GOAWAY gave back may end together with its connection.
    const refused = this.#stream?.rstCode === constants.NGHTTP2_REFUSED_STREAM;
    this.#reset(refused ? "remote refused stream reset" : reason);
  }

  #cancel(): void {
    const stream = this.#stream;
    if (stream === undefined) return this.#connection.onStreamClosed(this);
    if (!stream.closed) stream.close(constants.NGHTTP2_CANCEL);
    // What has come and nobody will read is dropped.
    stream.destroy();
  }

  #onResponse(flags: number, raw: readonly string[]): void {
    const receiver = this.#receiver;
    if (receiver === undefined) return;
    this.responseBegun = true;
    const message = parseHead(raw);
    if (message === undefined || message.status < 200) return this.#violation();
    const end = (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0;
    if (this.#upgrade !== "" && message.status < 300 && !end) {
      // The 200 of extended CONNECT is the 101 of HTTP/1.
      this.#raw = true;
      message.status = 101;
      message.upgrade = this.#upgrade;
      this.#answerWebSocketKey(message.headers);
    } else if (this.#method !== "HEAD" && message.status !== 304) this.#expectedBytes = message.contentLength;
    if (message.status === 204) message.headers.remove("content-length");
    if (end) this.#complete();
    receiver.onResponseHead(message, end);
    if (end) receiver.flush();
    else this.#flushSoon(receiver);
  }

  /** Extended CONNECT has no keys (RFC 8441, 5), but a client of HTTP/1.1 waits for the answer to its own. */
  #answerWebSocketKey(headers: Headers): void {
    const key = this.#webSocketKey;
    if (key === undefined || headers.has("sec-websocket-accept")) return;
    headers.add("sec-websocket-accept", webSocketAccept(key));
  }

  #onInformational(raw: readonly string[]): void {
    const receiver = this.#receiver;
    if (receiver === undefined) return;
    this.responseBegun = true;
    const message = parseHead(raw);
    if (message === undefined || message.status >= 200 || ++this.#informational > INFORMATIONAL_MAX) {
      return this.#violation();
    }
    receiver.onInformational(message);
    receiver.flush();
  }

  #onData(bytes: Buffer): void {
    const receiver = this.#receiver;
    if (receiver === undefined) return;
    this.#receivedBytes += bytes.length;
    if (this.#expectedBytes >= 0 && this.#receivedBytes > this.#expectedBytes) return this.#violation();
    receiver.onResponseData(bytes, 0, bytes.length);
    this.#flushSoon(receiver);
  }

  #onTrailers(raw: readonly string[]): void {
    const trailers = new Headers();
    if (addFields(trailers, raw) === undefined) this.#violation();
    else this.#responseTrailers = trailers;
  }

  #onEnd(): void {
    const receiver = this.#receiver;
    // Node ends streams that are reset, too; close follows.
    if (receiver === undefined || this.#stream?.rstCode !== constants.NGHTTP2_NO_ERROR) return;
    // RST_STREAM(NO_ERROR) ends what Node hands out, too, though the body may have been cut.
    if (!this.#finished) return;
    if (this.#expectedBytes >= 0 && this.#receivedBytes !== this.#expectedBytes) return this.#violation();
    if (!this.responseBegun) return;
    if (!this.#raw) this.#complete();
    this.#unflushed = false;
    receiver.onResponseEnd(this.#responseTrailers);
    receiver.flush();
  }

  /** Head, body and end of a small response come as events one right behind the other; they go on together. */
  #flushSoon(receiver: ResponseReceiver): void {
    if (this.#unflushed) return;
    this.#unflushed = true;
    setImmediate(() => {
      if (!this.#unflushed) return;
      this.#unflushed = false;
      receiver.flush();
    });
  }

  /** The response is there. If the endpoint didn't wait for the whole request, the rest of it is not for it. */
  #complete(): void {
    this.#receiver = undefined;
    if (!this.#requestDone) this.#stream?.close(constants.NGHTTP2_NO_ERROR);
  }

  #onClose(code: number): void {
    const { ended } = this.#connection;
    this.#connection.onStreamClosed(this);
    this.#reset(this.#broken ? "protocol error" : (ended ?? resetReasons[code] ?? "remote reset"));
  }

  /** The endpoint broke the protocol; as in Envoy, the connection goes with it. */
  #violation(): void {
    this.#connection.fail();
    this.#reset("protocol error");
  }

  #reset(reason: ResetReason): void {
    const receiver = this.#receiver;
    this.#receiver = undefined;
    receiver?.onUpstreamReset(reason, "");
    receiver?.flush();
  }
}

/**
 * Calls back when END_STREAM has come. Node ends a stream's readable side by push(null) for END_STREAM and for a reset alike, and only in the
 * latter case marks it as closed before.
 */
function onEndStream(stream: ClientHttp2Stream, callback: () => void): void {
  const push = stream.push.bind(stream);
  stream.push = (piece: unknown, encoding?: BufferEncoding) => {
    if (piece === null && !stream.closed) callback();
    return push(piece, encoding);
  };
}

/** Whether Node's error says that the peer's frames are none. */
export const isBrokenProtocol = (code: string | undefined): boolean =>
  code === "ERR_HTTP2_ERROR" || code === "ERR_HTTP2_TOO_MANY_INVALID_FRAMES";

/** What a stream's error code means, where it isn't the endpoint's own reset. Node closes streams whose frames break HTTP with these. */
const resetReasons: Readonly<Record<number, ResetReason>> = {
  [constants.NGHTTP2_REFUSED_STREAM]: "remote refused stream reset",
  [constants.NGHTTP2_PROTOCOL_ERROR]: "protocol error",
  [constants.NGHTTP2_FLOW_CONTROL_ERROR]: "protocol error",
  [constants.NGHTTP2_FRAME_SIZE_ERROR]: "protocol error",
  [constants.NGHTTP2_COMPRESSION_ERROR]: "protocol error",
  // Fields beyond our limits.
  [constants.NGHTTP2_ENHANCE_YOUR_CALM]: "protocol error",
};
