import type { Downstream } from "../filters/downstream.ts";
import type { Stream } from "../filters/stream.ts";
import type { Headers } from "../headers.ts";
import { isBodiless } from "../http1/write.ts";
import { abortOf } from "./abort.ts";
import { readTrailers, responseFields, trailerFields } from "./fields.ts";
import { codes } from "./frames.ts";
import type { StreamEnd, StreamHandler } from "./handlers.ts";
import type { Http2Request } from "./request-head.ts";
import type { Http2Stream } from "./stream.ts";

/** A shorter piece of a body waits for those that come with it. */
const SHORT_BYTES = 2_048;
const EMPTY = Buffer.alloc(0);
const CONTINUE = [":status", "100"];

/** What a stream asks of its connection. */
export interface ServedStreamOwner {
  readonly scheme: "http" | "https";
  wakeWithin(ms: number): void;
  onStreamClosed(served: ServedStream, complete: boolean): void;
}

/** A client's request and our response, between an HTTP/2 stream and the stream of filters. */
export class ServedStream implements Downstream, StreamHandler {
  readonly scheme: "http" | "https";
  readonly protocol = "HTTP/2";
  sentBytes = 0;
  /** Set by the connection right after it made this. */
  stream!: Stream;

  readonly #owner: ServedStreamOwner;
  readonly #http2: Http2Stream;
  #method = "";
  #bodiless = false;
  #requestEnded = false;
  #upgraded = false;
  /** What a client sent ahead of the answer to its CONNECT or upgrade; undefined: it has asked for none. */
  #ahead: Buffer[] | undefined = undefined;
  /** Short pieces of the read that is being handled. */
  #gathered: Buffer = EMPTY;
  #gatheredBytes = 0;

  constructor(owner: ServedStreamOwner, http2: Http2Stream) {
    this.#owner = owner;
    this.#http2 = http2;
    this.scheme = owner.scheme;
  }

  /** Hands the request to the stream; `end`: it has no body. */
  begin(request: Http2Request, end: boolean): void {
    this.#method = request.method;
    this.#requestEnded = end;
    if (!end && request.expectContinue) this.#http2.sendHeaders(CONTINUE, false);
    const tunnel = request.upgrade !== "" || request.method === "CONNECT";
    if (!tunnel) return this.stream.begin(request, end);
    // Until a tunnel is granted its bytes wait, as behind an HTTP/1 request that asks for an upgrade: as many as the stream's window allows.
    this.#ahead = [];
    this.#http2.pause();
    this.stream.begin(request, true);
  }

  onData(bytes: Buffer, from: number, to: number): void {
    const length = to - from;
    // Short pieces of one read go on as one: each by itself costs more than it holds.
    if (length < SHORT_BYTES) return this.#gather(bytes, from, to);
    this.#pass();
    this.#take(Buffer.from(bytes.subarray(from, to)));
  }

  #gather(bytes: Buffer, from: number, to: number): void {
    const needed = this.#gatheredBytes + to - from;
    if (this.#gathered.length < needed) {
      const larger = Buffer.allocUnsafe(this.#gatheredBytes === 0 ? needed : 2 * needed);
      this.#gathered.copy(larger, 0, 0, this.#gatheredBytes);
      this.#gathered = larger;
    }
    bytes.copy(this.#gathered, this.#gatheredBytes, from, to);
    this.#gatheredBytes = needed;
  }

  /** Hands on what has gathered. */
  #pass(): void {
    if (this.#gatheredBytes === 0) return;
    const piece = this.#gathered;
    const length = this.#gatheredBytes;
    this.#gathered = EMPTY;
    this.#gatheredBytes = 0;
    this.#take(length === piece.length ? piece : piece.subarray(0, length));
  }

  #take(piece: Buffer): void {
    if (this.#ahead === undefined) this.stream.onRequestData(piece);
    else this.#ahead.push(piece);
  }

  onEnd(trailers: readonly string[] | undefined): void {
    this.#pass();
    this.#requestEnded = true;
    if (this.#ahead === undefined) this.stream.onRequestEnd(trailers && readTrailers(trailers));
  }

  onReadEnd(): void {
    this.#pass();
    this.stream.flushRequest();
  }

  onWritable(): void {
    this.stream.onDownstreamWritable();
  }

  onClosed(end: StreamEnd, code: number): void {
    // A stream whose response has just been sent to its end is about to end by itself.
    if (end !== "complete") {
      const { flag, details } = abortOf(end, code);
      this.stream.onDownstreamReset(flag, details);
    }
    this.#owner.onStreamClosed(this, end === "complete");
  }

  /** Clients send no responses. */
  onHead(): void {}
  onInformational(): void {}

  sendHead(status: number, headers: Headers, end: boolean): void {
    this.#bodiless = isBodiless(status, this.#method);
    if (this.#ahead !== undefined && status >= 200 && status < 300) {
      // RFC 8441, 5: such a status says that the tunnel is there. This is an answer of who has opened none, and would be taken for what comes through it.
      this.#bodiless = true;
      headers.remove("content-length");
    }
    this.#http2.sendHeaders(responseFields(status, headers), end);
  }

  sendInformational(status: number, headers: Headers): void {
    this.#http2.sendHeaders(responseFields(status, headers), false);
  }

  sendUpgrade(_status: 101 | 200, headers: Headers): void {
    this.#upgraded = true;
    this.#http2.isTunnel = true;
    // It answers the key that stood in for the client's (RFC 8441, 5).
    headers.remove("sec-websocket-accept");
    this.#http2.sendHeaders(responseFields(200, headers), false);
  }

  sendData(bytes: Buffer, from: number, to: number): boolean {
    if (this.#bodiless || from === to) return true;
    this.sentBytes += to - from;
    return this.#http2.sendData(bytes, from, to);
  }

  sendEnd(trailers?: Headers): void {
    this.#http2.sendEnd(trailers === undefined || this.#bodiless ? undefined : trailerFields(trailers));
  }

  /** What was sent leaves by itself at the end of the turn (output.ts); what a client sent ahead of the answer to its upgrade goes on now. */
  flush(): void {
    const ahead = this.#ahead;
    if (ahead === undefined || !this.#upgraded) return;
    this.#ahead = undefined;
    for (const piece of ahead) this.stream.onRequestData(piece);
    if (this.#requestEnded) this.stream.onRequestEnd();
    else this.#http2.resume();
    this.stream.flushRequest();
  }

  pauseRequest(): void {
    this.#http2.pause();
  }

  resumeRequest(): void {
    // Until a tunnel is granted it stays as it is.
    if (this.#ahead === undefined) this.#http2.resume();
  }

  cut(): void {
    this.#http2.reset(codes.INTERNAL_ERROR);
  }

  closeAfterResponse(): void {
    // The connection serves other streams; that the rest of a request isn't wanted is said by its stream.
  }

  wakeWithin(ms: number): void {
    this.#owner.wakeWithin(ms);
  }
}
