import { constants, type ServerHttp2Stream } from "node:http2";

import type { Downstream } from "../filters/downstream.ts";
import type { Stream } from "../filters/stream.ts";
import type { Headers } from "../headers.ts";
import { isBodiless } from "../http1/write.ts";
import { fieldObject, readTrailers, responseFields } from "./fields.ts";
import type { Http2Request } from "./request-head.ts";

/** Body bytes that gather before they are handed to node:http2, unless flush() comes first. */
const GATHER_BYTES_MAX = 65_536;

/** Nobody is told of it: the stream's record has the reason. */
const CUT = new Error("the response cannot be completed");

const END = { endStream: true };
const NO_TRAILERS = {};
const MAYBE_TRAILERS = { waitForTrailers: true };

/** What a stream asks of its connection. */
export interface StreamOwner {
  readonly scheme: "http" | "https";
  wakeWithin(ms: number): void;
  onStreamClosed(served: ServedStream, complete: boolean): void;
}

/**
 * One HTTP/2 stream. What a response consists of gathers until flush(), so that a small one is handed to node:http2, and leaves the process,
 * in one go.
 */
export class ServedStream implements Downstream {
  readonly scheme: "http" | "https";
  sentBytes = 0;
  /** Set by the connection right after it made this. */
  stream!: Stream;

  readonly #owner: StreamOwner;
  readonly #http2: ServerHttp2Stream;
  #method = "";
  /** A request that has just begun, and what of its body has come meanwhile. */
  #early: { readonly request: Http2Request; readonly pieces: Buffer[] } | undefined = undefined;
  #head: string[] | undefined = undefined;
  #bodiless = false;
  #pieces: Buffer[] = [];
  #pieceBytes = 0;
  #trailers: Headers | undefined = undefined;
  #responseEnded = false;
  /** Whether the response was handed over to its last byte. */
  #complete = false;
  #mayTrail = false;
  #awaitsDrain = false;
  #requestEnded = false;
  #upgraded = false;

  /** The owner listens for errors. */
  constructor(owner: StreamOwner, http2: ServerHttp2Stream) {
    this.#owner = owner;
    this.#http2 = http2;
    this.scheme = owner.scheme;
    http2.on("close", () => this.#onClose());
  }

  /** Hands the request to the stream; `end`: it has no body. */
  begin(request: Http2Request, end: boolean): void {
    this.#method = request.method;
    this.#requestEnded = end;
    const tunnel = request.upgrade !== "" || request.method === "CONNECT";
    if (!end && request.expectContinue) this.#http2.additionalHeaders({ ":status": 100 });
    if (!end && !tunnel) return this.#beginWithBody(request);
    // Until a tunnel is granted its bytes wait, as behind an HTTP/1 request that asks for an upgrade.
    this.stream.begin(request, true);
    this.stream.flushRequest();
  }

  /**
   * Head, body and end of a small request come as events one right behind the other: what comes before the event loop's next phase goes on in
   * one go, which upstream means fewer frames and writes.
   */
  #beginWithBody(request: Http2Request): void {
    this.#early = { request, pieces: [] };
    this.#read();
    setImmediate(() => {
      if (this.#beginEarly()) this.stream.flushRequest();
    });
  }

  /** Hands over what has come so far, if that was still waiting. */
  #beginEarly(): boolean {
    const early = this.#early;
    this.#early = undefined;
    if (early === undefined || this.stream.ended || this.#http2.aborted || this.#http2.destroyed) return false;
    this.stream.begin(early.request, false);
    for (const piece of early.pieces) this.stream.onRequestData(piece);
    return true;
  }

  #read(): void {
    if (this.#http2.destroyed) return;
    let trailers: Headers | undefined;
    this.#http2
      .on("data", (piece: Buffer) => {
        if (this.#early !== undefined) {
          this.#early.pieces.push(piece);
          return;
        }
        this.stream.onRequestData(piece);
        this.stream.flushRequest();
      })
      .on("trailers", (_headers: object, _flags: number, fields: string[]) => {
        trailers = readTrailers(fields);
      })
      .on("end", () => this.#onEnd(trailers));
  }

  #onEnd(trailers: Headers | undefined): void {
    // Also emitted where a stream was reset; "close" tells then.
    if (this.#requestEnded || this.#http2.aborted || this.#http2.rstCode !== 0) return;
    this.#requestEnded = true;
    this.#beginEarly();
    this.stream.onRequestEnd(trailers);
    this.stream.flushRequest();
  }

  sendHead(status: number, headers: Headers, end: boolean): void {
    this.#bodiless = isBodiless(status, this.#method);
    this.#head = responseFields(status, headers);
    // Also behind a body of a known length: gRPC says there how a call went.
    this.#mayTrail = !this.#bodiless;
    if (end) this.#responseEnded = true;
  }

  sendInformational(status: number, headers: Headers): void {
    if (this.#http2.destroyed || this.#http2.closed || this.#http2.headersSent) return;
    this.#http2.additionalHeaders({ ...fieldObject(headers), ":status": status });
  }

  sendUpgrade(_status: 101 | 200, headers: Headers): void {
    this.#upgraded = true;
    // It answers the key that stood in for the client's (RFC 8441, 5).
    headers.remove("sec-websocket-accept");
    this.#head = responseFields(200, headers);
    this.flush();
    if (!this.#requestEnded) return this.#read();
    this.stream.onRequestEnd();
    this.stream.flushRequest();
  }

  sendData(bytes: Buffer, from: number, to: number): boolean {
    const length = to - from;
    if (this.#bodiless || length === 0) return true;
    this.sentBytes += length;
    this.#pieces.push(Buffer.from(bytes.subarray(from, to)));
    this.#pieceBytes += length;
    if (this.#pieceBytes >= GATHER_BYTES_MAX) this.flush();
    return !this.#awaitsDrain;
  }

  sendEnd(trailers?: Headers): void {
    this.#trailers = trailers;
    this.#responseEnded = true;
  }

  flush(): void {
    const http2 = this.#http2;
    if (http2.destroyed || http2.closed || this.#complete) return;
    const end = this.#responseEnded;
    const piece = this.#takePieces();
    if (this.#head !== undefined && !this.#respond(this.#head, end && piece === undefined)) return;
    if (piece !== undefined && !end) this.#write(piece);
    if (!end) return;
    this.#complete = true;
    if (!http2.writableEnded) http2.end(piece);
    // The rest of the request is of no use any more. With code NO_ERROR this waits until the response is out (RFC 9113, 8.1).
    if (!this.#requestEnded && !this.#mayTrail && !this.#upgraded) http2.close(constants.NGHTTP2_NO_ERROR);
  }

  /** False: the response is complete with its head. */
  #respond(head: string[], last: boolean): boolean {
    this.#head = undefined;
    if (this.#responseEnded && this.#trailers === undefined) this.#mayTrail = false;
    if (last && this.#trailers === undefined) {
      this.#complete = true;
      this.#http2.respond(head, END);
      if (!this.#requestEnded) this.#http2.close(constants.NGHTTP2_NO_ERROR);
      return false;
    }
    if (this.#mayTrail) this.#http2.once("wantTrailers", () => this.#sendTrailers());
    this.#http2.respond(head, this.#mayTrail ? MAYBE_TRAILERS : NO_TRAILERS);
    return true;
  }

  #sendTrailers(): void {
    const http2 = this.#http2;
    http2.sendTrailers(this.#trailers === undefined ? {} : fieldObject(this.#trailers));
    if (this.#requestEnded) return;
    // Node submits them by setImmediate; the reset has to follow.
    setImmediate(() => http2.close(constants.NGHTTP2_NO_ERROR));
  }

  #takePieces(): Buffer | undefined {
    const pieces = this.#pieces;
    if (pieces.length === 0) return undefined;
    this.#pieces = [];
    this.#pieceBytes = 0;
    return pieces.length === 1 ? pieces[0] : Buffer.concat(pieces);
  }

  #write(piece: Buffer): void {
    if (this.#http2.write(piece) || this.#awaitsDrain) return;
    this.#awaitsDrain = true;
    this.#http2.once("drain", () => {
      this.#awaitsDrain = false;
      this.stream.onDownstreamWritable();
    });
  }

  pauseRequest(): void {
    this.#http2.pause();
  }

  resumeRequest(): void {
    if (!this.#requestEnded && !this.#http2.destroyed) this.#http2.resume();
  }

  /** Ends the stream by RST_STREAM(INTERNAL_ERROR). node:http2's close() would end the body first, and make it look complete. */
  cut(): void {
    this.#http2.destroy(CUT);
  }

  closeAfterResponse(): void {
    // The connection serves other streams; that the rest of a request isn't wanted is said by flush().
  }

  wakeWithin(ms: number): void {
    this.#owner.wakeWithin(ms);
  }

  #onClose(): void {
    this.#pieces = [];
    const complete = this.#complete && this.#http2.rstCode === constants.NGHTTP2_NO_ERROR;
    if (!this.stream.ended) this.stream.onDownstreamReset();
    this.#owner.onStreamClosed(this, complete);
  }
}
