import { constants, performServerHandshake, type ServerHttp2Session, type ServerHttp2Stream } from "node:http2";
import type { Socket } from "node:net";

import { type Peer, peerOf } from "../filters/record.ts";
import { Stream } from "../filters/stream.ts";
import { ConnectionTimes } from "../http1/connection-times.ts";
import { Violation } from "../http1/violation.ts";
import type { Accepted } from "../listen/codec.ts";
import type { ListenerState } from "../listen/state.ts";
import { Timer, type TimerOwner, timers } from "../listen/timers.ts";
import { malformed } from "../reply.ts";
import { HeadWatch } from "./head-watch.ts";
import { readRequestHead } from "./request-head.ts";
import { ResetBudget } from "./reset-budget.ts";
import { ServedStream, type StreamOwner } from "./server-stream.ts";
import { sessionOptions } from "./session-options.ts";

const ON_CHECK = 0;
const ON_DRAINED = 1;
const ON_KEEPALIVE = 2;

/** RFC 9113, 6.8: "a GOAWAY frame with the last stream identifier set to 2^31-1" announces the end. */
const LAST_STREAM_ID_MAX = 2 ** 31 - 1;

/** A client's HTTP/2 connection, on node:http2: many streams, each a request and its response. */
export class Http2Connection implements StreamOwner, TimerOwner {
  readonly scheme: "http" | "https";

  readonly #socket: Socket;
  readonly #listener: ListenerState;
  readonly #onClosed: (connection: Http2Connection) => void;
  readonly #peer: Peer;
  readonly #session: ServerHttp2Session;
  readonly #streams = new Set<ServedStream>();
  readonly #timer = new Timer(this, ON_CHECK);
  readonly #drainTimer = new Timer(this, ON_DRAINED);
  readonly #times: ConnectionTimes;
  readonly #resets = new ResetBudget();
  #requests = 0;
  #draining = false;
  #headWatch: HeadWatch | undefined = undefined;
  #keepaliveTimer: Timer | undefined = undefined;
  /** Whether a keepalive PING waits for its answer. */
  #pinged = false;

  /** What was read of the socket already lies in it (unshift). */
  constructor(
    { socket, scheme, peer }: Accepted,
    listener: ListenerState,
    onClosed: (connection: Http2Connection) => void,
  ) {
    this.#socket = socket;
    this.#listener = listener;
    this.#onClosed = onClosed;
    this.scheme = scheme;
    this.#peer = peer ?? peerOf(socket);
    this.#times = new ConnectionTimes(listener);
    const { http } = listener.options;
    this.#session = performServerHandshake(socket, sessionOptions(http))
      .on("stream", (http2, _headers, flags, fields: string[]) => this.#onStream(http2, flags, fields))
      .on("error", () => listener.stats.downstream_cx_protocol_error.inc())
      .on("close", () => this.#onClose());
    // The listener lets clients close one half, which HTTP/2 has no meaning for: nobody is there to take the responses.
    socket.once("end", () => this.destroy());
    this.#session.setLocalWindowSize(http.http2.connectionWindowBytes);
    const { connectionIdleTimeoutMs, maxConnectionDurationMs } = http;
    if (connectionIdleTimeoutMs > 0) this.wakeWithin(connectionIdleTimeoutMs);
    if (maxConnectionDurationMs > 0) this.wakeWithin(maxConnectionDurationMs);
    if (http.requestHeadersTimeoutMs > 0) {
      const isBusy = () => this.#streams.size > 0;
      this.#headWatch = new HeadWatch(this.#session, socket, http.requestHeadersTimeoutMs, isBusy, () =>
        this.#giveUpHead(),
      );
    }
    if (http.http2.keepaliveIntervalMs > 0) {
      this.#keepaliveTimer = new Timer(this, ON_KEEPALIVE);
      timers.schedule(this.#keepaliveTimer, http.http2.keepaliveIntervalMs);
    }
  }

  #giveUpHead(): void {
    this.#listener.stats.downstream_rq_header_timeout.inc();
    this.#session.destroy(new Error("a request head never ended"), constants.NGHTTP2_ENHANCE_YOUR_CALM);
  }

  /** Sends a keepalive PING, or finds that the last one was not answered in time. */
  #keepAlive(timer: Timer): void {
    // It is destroyed before it tells so.
    if (this.#session.destroyed) return;
    if (this.#pinged) return this.destroy();
    const { keepaliveIntervalMs, keepaliveTimeoutMs } = this.#listener.options.http.http2;
    this.#pinged = this.#session.ping(() => {
      this.#pinged = false;
      if (!this.#session.destroyed) timers.schedule(timer, keepaliveIntervalMs);
    });
    if (this.#pinged) timers.schedule(timer, keepaliveTimeoutMs);
  }

  #onStream(http2: ServerHttp2Stream, flags: number, fields: string[]): void {
    const { http } = this.#listener.options;
    // Even a stream that is over before we come to look at it may yet have an error to tell.
    http2.on("error", ignore);
    if (http2.destroyed) return this.#count(false, 0);
    const served = new ServedStream(this, http2);
    const stream = new Stream(served, this.#listener, this.#peer, performance.now());
    served.stream = stream;
    this.#streams.add(served);
    this.#requests++;
    if (http.requestTimeoutMs > 0) this.wakeWithin(http.requestTimeoutMs);
    if (http.maxRequestsPerConnection > 0 && this.#requests === http.maxRequestsPerConnection) {
      this.#listener.stats.downstream_cx_max_requests_reached.inc();
      this.drain();
    }
    if (!this.#draining && this.#listener.crowd?.sendsAway() === true) this.drain();
    const request = readRequestHead(fields, http);
    const end = (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0;
    if (!(request instanceof Violation)) return served.begin(request, end);
    this.#listener.stats.downstream_cx_protocol_error.inc();
    stream.reply(malformed(request));
  }

  onStreamClosed(served: ServedStream, complete: boolean): void {
    if (!this.#streams.delete(served)) return;
    const now = performance.now();
    this.#times.idleSince = now;
    this.#count(complete, now - served.stream.record.startedAt);
  }

  #count(complete: boolean, lifeMs: number): void {
    if (this.#resets.allows(complete, lifeMs) || this.#session.destroyed) return;
    this.#session.destroy(new Error("too many streams were reset"), constants.NGHTTP2_ENHANCE_YOUR_CALM);
  }

  /**
   * Lets the streams that are there end, and takes no new ones. The client is told first, and refused only once it must have heard
   * (RFC 9113, 6.8): when it has answered a PING that came behind, at the latest after drain_timeout. So no request that it sent meanwhile is lost.
   */
  drain(): void {
    if (this.#draining || this.#session.destroyed) return;
    this.#draining = true;
    if (this.#listener.draining) this.#listener.stats.downstream_cx_drain_close.inc();
    this.#session.goaway(constants.NGHTTP2_NO_ERROR, LAST_STREAM_ID_MAX);
    timers.schedule(this.#drainTimer, this.#listener.options.http.drainTimeoutMs);
    this.#session.ping(() => this.onTimer(ON_DRAINED));
  }

  destroy(): void {
    this.#session.destroy();
    this.#socket.destroy();
  }

  wakeWithin(ms: number): void {
    if (ms < Number.POSITIVE_INFINITY && !this.#session.destroyed) timers.scheduleWithin(this.#timer, ms);
  }

  onTimer(kind: number): void {
    if (this.#session.destroyed) return;
    if (kind === ON_CHECK) return this.wakeWithin(this.#checkTimes(performance.now()));
    if (kind === ON_KEEPALIVE && this.#keepaliveTimer !== undefined) return this.#keepAlive(this.#keepaliveTimer);
    timers.cancel(this.#drainTimer);
    this.#session.close();
  }

  /** Acts on what is overdue. Returns in how many ms to look again. */
  #checkTimes(now: number): number {
    if (this.#streams.size === 0) {
      const left = this.#times.checkIdle(now);
      if (left <= 0) this.drain();
      return left > 0 ? left : Number.POSITIVE_INFINITY;
    }
    let soonest = this.#times.checkLife(now);
    if (soonest <= 0) {
      if (!this.#draining) this.#listener.stats.downstream_cx_max_duration_reached.inc();
      this.drain();
      soonest = Number.POSITIVE_INFINITY;
    }
    for (const served of this.#streams) soonest = Math.min(soonest, this.#checkStream(served, now));
    return soonest;
  }

  #checkStream(served: ServedStream, now: number): number {
    const { stream } = served;
    if (!stream.ended) return this.#times.checkStream(stream, !stream.requestDone, now);
    // The response is all there, and the client doesn't take it.
    const { streamIdleTimeoutMs } = this.#listener.options.http;
    const left = stream.record.endAt + streamIdleTimeoutMs - now;
    if (streamIdleTimeoutMs === 0 || left > 0) return left > 0 ? left : Number.POSITIVE_INFINITY;
    this.#listener.stats.downstream_rq_idle_timeout.inc();
    served.cut();
    return Number.POSITIVE_INFINITY;
  }

  #onClose(): void {
    timers.cancel(this.#timer);
    timers.cancel(this.#drainTimer);
    this.#headWatch?.stop();
    if (this.#keepaliveTimer !== undefined) timers.cancel(this.#keepaliveTimer);
    const { stats } = this.#listener;
    stats.downstream_cx_active.dec();
    stats.downstream_cx_destroy.inc();
    stats.downstream_cx_rx_bytes_total.inc(this.#socket.bytesRead);
    stats.downstream_cx_tx_bytes_total.inc(this.#socket.bytesWritten);
    stats.downstream_cx_length_ms.record(performance.now() - this.#times.openedAt);
    this.#onClosed(this);
  }
}

/** What matters of a stream's error is that "close" follows. */
function ignore(): void {}
