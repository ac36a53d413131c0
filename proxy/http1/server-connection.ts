import type { Socket } from "node:net";

import type { Downstream } from "../filters/downstream.ts";
import { type Peer, peerOf } from "../filters/record.ts";
import { Stream } from "../filters/stream.ts";
import type { Headers } from "../headers.ts";
import type { Connection } from "../listen/codec.ts";
import type { ListenerState } from "../listen/state.ts";
import { now } from "../listen/clock.ts";
import { Timer, type TimerOwner, timers } from "../listen/timers.ts";
import { type LocalReply, malformed } from "../reply.ts";
import { CLOSED, CLOSING, HANDED_OVER, RAW, READING, RESPONSE } from "./connection-state.ts";
import { ConnectionTimes } from "./connection-times.ts";
import { Input, type InputReader } from "./input.ts";
import { Linger } from "../listen/linger.ts";
import type { RequestMessage } from "./request-head.ts";
import { type RequestHandler, RequestReader } from "./request-reader.ts";
import { ResponseWriter } from "./response-writer.ts";
import { type BytesTaker, SocketReader } from "./socket-reader.ts";
import type { Violation } from "./violation.ts";

/** A client's HTTP/1 connection: requests are read and answered one after the other. What a client sends ahead is held back. */
export class ServerConnection implements Downstream, RequestHandler, BytesTaker, InputReader, TimerOwner {
  readonly scheme: "http" | "https";
  readonly protocol = "HTTP/1.1";

  readonly #socket: Socket;
  readonly #listener: ListenerState;
  readonly #onClosed: (connection: ServerConnection) => void;
  /** Takes the socket over when the client begins with HTTP/2's preface; undefined: it must not. */
  readonly #handOver: (() => Connection) | undefined;
  /** Who took the socket over. */
  #successor: Connection | undefined = undefined;
  readonly #peer: Peer;
  readonly #response: ResponseWriter;
  readonly #request: RequestReader;
  readonly #timer: Timer = new Timer(this, 0);
  readonly #times: ConnectionTimes;
  #state = READING;
  #stream: Stream | undefined = undefined;
  readonly #input: Input;
  #requests = 0;
  #close = false;
  #clientEnded = false;
  #linger: Linger | undefined = undefined;

  /**
   * `from`: what was found out about the connection before it came here. `onPreface`: takes the socket over when the client turns out to speak
   * HTTP/2; this connection then only passes on what it is told.
   */
  constructor(
    socket: Socket,
    listener: ListenerState,
    onClosed: (connection: ServerConnection) => void,
    from: { readonly scheme: "http" | "https"; readonly peer?: Peer | undefined } = { scheme: "http" },
    onPreface?: () => Connection,
  ) {
    this.#socket = socket;
    this.scheme = from.scheme;
    this.#listener = listener;
    this.#onClosed = onClosed;
    this.#handOver = onPreface;
    this.#input = new Input(socket, this);
    this.#response = new ResponseWriter(socket, () => this.#onUnsent());
    this.#times = new ConnectionTimes(listener);
    this.#request = new RequestReader(this, this.scheme === "https", listener.runtime.stats.http1());
    this.#peer = from.peer ?? peerOf(socket);
    listener.stats.downstream_cx_total.inc();
    listener.stats.downstream_cx_active.inc();
    new SocketReader(socket, this, onPreface !== undefined);
    socket
      .on("end", () => this.#onEnd())
      .on("drain", () => this.#onDrain())
      // What matters of an error is that "close" follows.
      .on("error", () => {})
      .on("close", () => this.#onClose());
    this.wakeWithin(this.#times.firstLookMs);
    // Whoever looked at its first bytes paused it.
    if (socket.isPaused()) socket.resume();
  }

  get sentBytes(): number {
    return this.#response.bodyBytes;
  }

  /** Serves at most one more request: closes when it has been idle for a moment, else after the response. */
  drain(): void {
    this.#successor?.drain();
    if (this.#state === READING && this.#stream === undefined) this.wakeWithin(1);
  }

  destroy(): void {
    this.#successor?.destroy();
    this.#socket.destroy();
  }

  onBytes(bytes: Buffer, borrowed: boolean): void {
    this.#listener.stats.downstream_cx_rx_bytes_total.inc(bytes.length);
    if (this.#state < CLOSING) this.#input.receive(bytes, borrowed);
  }

  onPreface(): void {
    // From here on nothing of this connection acts any more.
    this.#state = HANDED_OVER;
    timers.cancel(this.#timer);
    this.#successor = this.#handOver?.();
  }

  takeInput(bytes: Buffer, at: number): number {
    switch (this.#state) {
      case READING: {
        const { http } = this.#listener.options;
        return this.wantsInput ? this.#request.read(bytes, at, http.maxRequestHeadersKb * 1024, http) : -1;
      }
      case RESPONSE:
        return -1;
      case RAW:
        this.#stream?.onRequestData(this.#input.own(bytes, at, bytes.length));
        return bytes.length;
      default:
        return bytes.length;
    }
  }

  /** Who takes no responses gets no more of them, or they would pile up here. */
  get wantsInput(): boolean {
    if (this.#state !== READING) return this.#state === RAW;
    return this.#request.inBody || !this.#socket.writableNeedDrain;
  }

  onInputTaken(): void {
    this.#stream?.flushRequest();
  }

  /** A client that doesn't take its responses is looked at even though it owes nothing else. */
  #onUnsent(): void {
    if (this.#state === READING && this.#stream === undefined) this.wakeWithin(this.#times.takingLimitMs);
  }

  #onDrain(): void {
    if (this.#stream !== undefined) return this.#stream.onDownstreamWritable();
    if (this.#state === READING && !this.#input.consuming) this.#goOn();
  }

  onHeadBegun(): void {
    this.#times.headSince = now();
    this.wakeWithin(this.#times.headLimitMs);
  }

  #openStream(message: RequestMessage | undefined): Stream {
    this.#times.headSince = -1;
    this.#response.begin(message);
    this.#requests++;
    return (this.#stream = new Stream(this, this.#listener, this.#peer, now()));
  }

  onRequestHead(message: RequestMessage, end: boolean): void {
    const { http } = this.#listener.options;
    const stream = this.#openStream(message);
    this.#close = message.close || (message.isHttp10 && !message.keepAlive);
    if (this.#times.isLastRequest(this.#requests)) this.#close = true;
    if (end) this.#state = RESPONSE;
    else {
      if (http.requestTimeoutMs > 0) this.wakeWithin(http.requestTimeoutMs);
      // Like Envoy we say it ourselves rather than have the upstream decide.
      if (message.expectContinue && !message.isHttp10) this.#response.continue();
    }
    stream.begin(message, end);
    this.#settle();
  }

  onBody(bytes: Buffer, from: number, to: number): void {
    this.#stream?.onRequestData(this.#input.own(bytes, from, to));
  }

  onRequestEnd(): void {
    this.#state = RESPONSE;
    this.#input.streamPaused = false;
    this.#stream?.onRequestEnd();
    this.#settle();
  }

  onViolation(violation: Violation, inBody: boolean): void {
    const { stats } = this.#listener;
    stats.downstream_cx_protocol_error.inc();
    if (!inBody) {
      if (violation.status === 431) stats.downstream_rq_too_large.inc();
      return this.#replyToNone(malformed(violation));
    }
    this.#close = true;
    this.#stream?.reply(malformed(violation));
    this.#settle();
  }

  /** Answers where there is no request that could be read; the connection closes. */
  #replyToNone(reply: LocalReply): void {
    this.#state = RESPONSE;
    this.#close = true;
    this.#openStream(undefined).reply(reply);
    this.#settle();
  }

  pauseRequest(): void {
    this.#input.pauseStream();
  }

  resumeRequest(): void {
    this.#input.streamPaused = false;
    if (!this.#input.consuming) this.#input.resume();
  }

  sendHead(status: number, headers: Headers, end: boolean): void {
    if (this.#listener.draining) this.#close = true;
    this.#close = this.#response.head(status, headers, end, this.#close);
  }

  sendInformational(status: number, headers: Headers): void {
    this.#response.informational(status, headers);
  }

  sendUpgrade(status: 101 | 200, headers: Headers): void {
    this.#response.upgrade(status, headers);
    this.#state = RAW;
    this.#close = true;
  }

  sendData(bytes: Buffer, from: number, to: number): boolean {
    return this.#response.data(bytes, from, to);
  }

  sendEnd(): void {
    this.#response.end();
  }

  flush(): void {
    if (this.#state === CLOSED) return;
    this.#response.flush();
    this.#settle();
    if (this.#state !== RAW || this.#input.consuming) return;
    // What a client sent ahead of the 101, its end included.
    this.#input.consumeHeld();
    if (this.#clientEnded && this.#stream?.requestDone === false) this.#endTunnelInput();
  }

  closeAfterResponse(): void {
    this.#close = true;
  }

  cut(): void {
    this.#response.flush();
    // What was written before still goes out, then the connection breaks off before the body is complete.
    this.#startLinger(true);
  }

  /** Goes on to the next request once the current one is done on both sides. */
  #settle(): void {
    const stream = this.#stream;
    if (stream?.ended !== true || this.#state >= CLOSING) return;
    this.#response.flush();
    this.#stream = undefined;
    this.#input.streamPaused = false;
    this.#times.idleSince = stream.record.endAt;
    if (!this.#response.done || this.#state !== RESPONSE || this.#close) return this.#closeGracefully();
    this.#state = READING;
    // The listener may have begun to drain since the client was told that its connection stays.
    if (this.#listener.draining) this.wakeWithin(1);
    if (!this.#input.consuming) this.#goOn();
  }

  /** Turns to what the client sent ahead. */
  #goOn(): void {
    if (this.wantsInput) this.#input.consumeHeld();
    if (this.#clientEnded && this.#state === READING && this.#input.held === undefined) this.#closeGracefully();
    else this.#input.resume();
  }

  #closeGracefully(): void {
    this.#startLinger(false);
    this.#input.resume();
  }

  #startLinger(immediately: boolean): void {
    this.#state = CLOSING;
    this.#input.held = undefined;
    this.#input.streamPaused = false;
    this.#linger = new Linger(
      this.#socket,
      this.#response,
      this.#listener.options.http.delayedCloseTimeoutMs,
      immediately,
    );
    timers.schedule(this.#timer, this.#linger.checkMs);
  }

  #onEnd(): void {
    this.#clientEnded = true;
    switch (this.#state) {
      case READING:
        // Amid a body the client has gone; between requests it is done, unless some of its requests still wait.
        if (this.#request.inBody) this.destroy();
        else if (this.wantsInput || this.#input.held === undefined) this.#response.endSocket();
        return;
      case RESPONSE:
        this.wakeWithin(this.#times.checkGrace(this.#socket.bytesWritten));
        return;
      case RAW:
        return this.#endTunnelInput();
      default:
        return;
    }
  }

  #endTunnelInput(): void {
    this.#stream?.onRequestEnd();
    this.#stream?.flushRequest();
  }

  #onClose(): void {
    if (this.#state === HANDED_OVER) return;
    this.#state = CLOSED;
    timers.cancel(this.#timer);
    this.#times.closed(this.#socket.bytesWritten);
    this.#stream?.onDownstreamReset();
    this.#stream = undefined;
    this.#input.held = undefined;
    this.#onClosed(this);
  }

  wakeWithin(ms: number): void {
    if (this.#state < CLOSING && ms < Number.POSITIVE_INFINITY) timers.scheduleWithin(this.#timer, ms);
  }

  onTimer(): void {
    if (this.#state < CLOSING) this.wakeWithin(this.#checkTimes(now()));
    else if (this.#linger?.check() === true) timers.schedule(this.#timer, this.#linger.checkMs);
  }

  /** Acts on what is overdue. Returns in how many ms to look again. */
  #checkTimes(at: number): number {
    if (this.#state === RESPONSE && this.#clientEnded && this.#stream?.isOverdue(at) !== true) {
      const left = this.#times.checkGrace(this.#socket.bytesWritten);
      if (left > 0) return left;
      this.destroy();
      return Number.POSITIVE_INFINITY;
    }
    const times = this.#times;
    const stream = this.#stream;
    if (stream !== undefined) {
      const left = times.checkStream(stream, this.#state === READING, at);
      if (times.checkLife(at) <= 0) this.#close = true;
      this.#settle();
      return left;
    }
    const verdict = times.checkBetween(this.#response.unsentBytes, at);
    if (typeof verdict === "number") return verdict;
    if (verdict === "destroy") this.destroy();
    else if (verdict === "close") this.#closeGracefully();
    else this.#replyToNone(verdict);
    return Number.POSITIVE_INFINITY;
  }
}
