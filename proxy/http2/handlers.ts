import type { Abort } from "./abort.ts";
import type { Http2Stream } from "./stream.ts";

/**
 * Why a stream is over: both sides ended it, the peer or we reset it, the peer broke the protocol on it or on its connection, a GOAWAY of the endpoint left it out (which
 * has not looked at it then), or its connection is gone.
 */
export type StreamEnd =
  | "complete"
  | "reset by peer"
  | "reset by us"
  | "broken by peer"
  | "connection broken by peer"
  | "given back"
  | "connection gone";

/**
 * Takes what a peer sends on one stream. Calls come while the socket is read; whatever they write, on this connection or others, leaves when all
 * that came together was looked at. onClosed() comes once, and after it at most an onReadEnd(). Fields are names and values in turn.
 */
export interface StreamHandler {
  /** Of a response (to a request of ours): its head. `end`: that was all. */
  onHead(status: number, fields: readonly string[], end: boolean): void;
  /** Of a response: a 1xx before it. */
  onInformational(status: number, fields: readonly string[]): void;
  /** A piece of the body, valid during the call only. */
  onData(bytes: Buffer, from: number, to: number): void;
  /** The peer has sent all. `trailers`: names and values in turn, undefined: there are none. Not called after a head with `end`. */
  onEnd(trailers: readonly string[] | undefined): void;
  /** The calls of one read are over, onClosed() possibly among them. */
  onReadEnd(): void;
  /** After sendData() returned false: what waited has gone. */
  onWritable(): void;
  /** The stream is over, at both sides. `code`: of RST_STREAM, or of the connection's error; NO_ERROR where it is complete. */
  onClosed(end: StreamEnd, code: number): void;
}

/** Takes what happens to a connection as a whole. */
export interface SessionHandler {
  /**
   * A client begins a request: names and values in turn, checked by RFC 9113, 8.2 and 8.3. `end`: it has no body. `stream.handler` is to be set before the call
   * returns. Never called where we are the client.
   */
  onRequest(stream: Http2Stream, fields: readonly string[], end: boolean): void;
  /** The peer's SETTINGS have come; they may come again. They are in `session.peer`. */
  onSettings(): void;
  /** The peer takes no further streams; those of ours that it has not looked at are given back after this. */
  onGoaway(code: number): void;
  /** The peer answered ping(kind). */
  onPong(kind: number): void;
  /**
   * A stream of a client was refused before it was one: too many are open (REFUSED_STREAM), its head is malformed (PROTOCOL_ERROR) or too large (ENHANCE_YOUR_CALM). `abort`: how
   * the latter two are logged.
   */
  onRefused(code: number, abort: Abort | undefined): void;
  /** A stream is about to be reset for what the peer did on it. Not called where only its body's length is another than it said, or its head or trailers are too large. */
  onStreamError(code: number): void;
  /** The peer broke the protocol, or went too far: GOAWAY with this code is on its way. The streams are closed after this. */
  onFailed(code: number): void;
  /** A read is over that left a head, or another frame, unfinished which had not begun before: `session.unfinishedSince` says since when. */
  onUnfinished(): void;
  /** The socket is closed; every stream was told before. */
  onClosed(): void;
}
