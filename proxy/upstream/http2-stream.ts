import type { Headers } from "../headers.ts";
import { readTrailers, trailerFields } from "../http2/fields.ts";
import { codes } from "../http2/frames.ts";
import type { StreamEnd, StreamHandler } from "../http2/handlers.ts";
import type { Http2Stream } from "../http2/stream.ts";
import type { ResetReason } from "../reply.ts";
import type { Http2Connection } from "./http2-connection.ts";
import { fieldsOf, type Http2RequestHead, responseOf } from "./http2-fields.ts";
import { LastBytes } from "./last-bytes.ts";
import type { ResponseReceiver } from "./response-receiver.ts";
import { webSocketAccept } from "./websocket-accept.ts";

/** More 1xx responses than this before the one is a flood. */
const INFORMATIONAL_MAX = 16;

/** One request on an HTTP/2 connection; what ClientConnection is for HTTP/1. */
export class Http2ClientStream implements StreamHandler {
  readonly isHttp2 = true;
  /** Whether the connection had carried a request before. */
  readonly reused: boolean;
  /** Whether anything of the response has arrived. */
  responseBegun = false;
  /** Whether the endpoint gave the stream back by GOAWAY, and so has not looked at it. */
  givenBack = false;

  readonly #connection: Http2Connection;
  #receiver: ResponseReceiver | undefined = undefined;
  #stream: Http2Stream | undefined = undefined;
  /** Who has been handed something of the response, and was not told yet that there is no more for now. */
  #unflushed: ResponseReceiver | undefined = undefined;
  #upgrade = "";
  #webSocketKey: string | undefined = undefined;
  #raw = false;
  #requestDone = false;
  #informational = 0;

  constructor(connection: Http2Connection, reused: boolean) {
    this.#connection = connection;
    this.reused = reused;
  }

  get localAddress(): string | undefined {
    return this.#connection.localAddress;
  }

  /** Sends the head; the response goes to `receiver`. It leaves with all else that is sent in the same turn. */
  sendRequest(receiver: ResponseReceiver, head: Http2RequestHead): void {
    const { method, upgrade, headers } = head;
    this.#receiver = receiver;
    this.#upgrade = upgrade;
    if (upgrade.toLowerCase() === "websocket") this.#webSocketKey = headers.get("sec-websocket-key");
    this.#stream = this.#connection.open(fieldsOf(head), this, method, upgrade !== "");
    if (this.#stream !== undefined) return;
    // It ended between being chosen and being used.
    this.#connection.onStreamClosed();
    this.#reset(this.#connection.ended ?? "connection termination");
  }

  /** A piece of the request's body, which is copied. False: wait for onUpstreamWritable(). */
  sendData(bytes: Buffer): boolean {
    return this.#stream?.sendData(bytes, 0, bytes.length) ?? true;
  }

  /** The request is complete. */
  sendEnd(trailers?: Headers): void {
    // An upgrade goes on after its head.
    if (this.#requestDone || (this.#upgrade !== "" && !this.#raw)) return;
    this.#requestDone = true;
    this.#stream?.sendEnd(trailers && trailerFields(trailers));
  }

  /** What was sent leaves by itself, at the end of the turn. */
  flush(): void {}

  pause(): void {
    this.#stream?.pause();
  }

  resume(): void {
    this.#stream?.resume();
  }

  /** The receiver wants no more. */
  abandon(): void {
    this.#receiver = undefined;
    this.#stream?.reset(codes.CANCEL);
  }

  /** Both halves of its tunnel have ended: what was sent goes out yet, and the stream closes. */
  finish(): void {
    this.#receiver = undefined;
    if (this.#stream?.closed === false) new LastBytes(this);
  }

  /** Bytes that were sent and wait for the endpoint's windows. */
  get unsentBytes(): number {
    return this.#stream?.unsentBytes ?? 0;
  }

  onHead(status: number, fields: readonly string[], end: boolean): void {
    const receiver = this.#receiver;
    if (receiver === undefined) return;
    this.responseBegun = true;
    this.#unflushed = receiver;
    const message = responseOf(status, fields);
    if (this.#upgrade !== "" && status < 300 && !end) {
      // The 200 of extended CONNECT is the 101 of HTTP/1.
      this.#raw = true;
      message.status = 101;
      message.upgrade = this.#upgrade;
      this.#answerWebSocketKey(message.headers);
    }
    if (status === 204) message.headers.remove("content-length");
    if (end) this.#receiver = undefined;
    receiver.onResponseHead(message, end);
    if (end) this.#dropRest();
  }

  /** Extended CONNECT has no keys (RFC 8441, 5), but a client of HTTP/1.1 waits for the answer to its own. */
  #answerWebSocketKey(headers: Headers): void {
    const key = this.#webSocketKey;
    if (key === undefined || headers.has("sec-websocket-accept")) return;
    headers.add("sec-websocket-accept", webSocketAccept(key));
  }

  onInformational(status: number, fields: readonly string[]): void {
    const receiver = this.#receiver;
    if (receiver === undefined) return;
    this.responseBegun = true;
    if (++this.#informational > INFORMATIONAL_MAX) return this.#connection.fail();
    this.#unflushed = receiver;
    receiver.onInformational(responseOf(status, fields));
  }

  onData(bytes: Buffer, from: number, to: number): void {
    const receiver = this.#receiver;
    if (receiver === undefined) return;
    this.#unflushed = receiver;
    receiver.onResponseData(bytes, from, to);
  }

  onEnd(trailers: readonly string[] | undefined): void {
    const receiver = this.#receiver;
    if (receiver === undefined) return;
    this.#unflushed = receiver;
    if (!this.#raw) this.#receiver = undefined;
    receiver.onResponseEnd(trailers && readTrailers(trailers));
    if (!this.#raw) this.#dropRest();
  }

  onReadEnd(): void {
    const receiver = this.#unflushed;
    this.#unflushed = undefined;
    receiver?.flush();
  }

  onWritable(): void {
    this.#receiver?.onUpstreamWritable();
  }

  onClosed(end: StreamEnd, code: number): void {
    this.onReadEnd();
    this.givenBack = end === "given back";
    // Before the connection hears of it, which may then end for having no more streams.
    const reason = this.#connection.ended ?? reasonOf(end, code);
    this.#connection.onStreamClosed();
    this.#reset(reason);
  }

  /** The response is there. If the endpoint didn't wait for the whole request, the rest of it is not for it. */
  #dropRest(): void {
    if (!this.#requestDone) this.#stream?.reset(codes.NO_ERROR);
  }

  #reset(reason: ResetReason): void {
    const receiver = this.#receiver;
    this.#receiver = undefined;
    receiver?.onUpstreamReset(reason, "");
    receiver?.flush();
  }
}

/** Why a response will not be completed. A connection that has ended says so itself. */
function reasonOf(end: StreamEnd, code: number): ResetReason {
  if (end === "connection gone") return "connection termination";
  if (end === "broken by peer") return "protocol error";
  if (end === "given back" || code === codes.REFUSED_STREAM) return "remote refused stream reset";
  return "remote reset";
}
