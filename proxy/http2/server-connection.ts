import type { Socket } from "node:net";

import { type Peer, peerOf } from "../filters/record.ts";
import { Stream } from "../filters/stream.ts";
import { ConnectionTimes } from "../http1/connection-times.ts";
import { Violation } from "../http1/violation.ts";
import { now } from "../listen/clock.ts";
import type { Accepted } from "../listen/codec.ts";
import type { Http2Stats } from "../listen/context.ts";
import type { HttpOptions } from "../listen/options.ts";
import { readBuffer, readInto } from "../listen/read-buffer.ts";
import type { ListenerState } from "../listen/state.ts";
import { Timer, type TimerOwner, timers } from "../listen/timers.ts";
import { malformed } from "../reply.ts";
import type { Abort } from "./abort.ts";
import { codes } from "./frames.ts";
import type { SessionHandler } from "./handlers.ts";
import { reportRefused } from "./refused-request.ts";
import { readRequestHead } from "./request-head.ts";
import { ResetBudget } from "./reset-budget.ts";
import { ServedStream, type ServedStreamOwner } from "./server-stream.ts";
import type { SessionOptions } from "./session-streams.ts";
import { Http2Session } from "./session.ts";
import type { Http2Stream } from "./stream.ts";
import { violations } from "./violation.ts";

// Kinds of timers.
const ON_CHECK = 0;
const ON_DRAINED = 1;
const ON_KEEPALIVE = 2;

// Kinds of PINGs.
const DRAIN_PING = 1;
const KEEPALIVE_PING = 2;

/** How long a client may take to acknowledge our SETTINGS; one that doesn't speak HTTP/2 at all would otherwise stay until it counts as idle. */
const SETTINGS_TIMEOUT_MS = 30_000;
/** Pseudo-headers of a request, of which max_headers_count knows nothing. */
const PSEUDO_HEADERS = 5;

/** A client's HTTP/2 connection: many streams, each a request and its response. */
export class Http2Connection implements SessionHandler, ServedStreamOwner, TimerOwner {
  readonly scheme: "http" | "https";

  readonly #socket: Socket;
  readonly #listener: ListenerState;
  readonly #onClosed: (connection: Http2Connection) => void;
  readonly #peer: Peer;
  readonly #session: Http2Session;
  readonly #streams = new Set<ServedStream>();
  readonly #timer = new Timer(this, ON_CHECK);
  readonly #drainTimer = new Timer(this, ON_DRAINED);
  readonly #keepaliveTimer = new Timer(this, ON_KEEPALIVE);
  readonly #times: ConnectionTimes;
  /** When a connection without streams is to be looked at, in ms. */
  readonly #quietMs: number;
  readonly #resets = new ResetBudget();
  #requests = 0;
  #draining = false;
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
    this.#quietMs = Math.min(this.#times.firstLookMs, this.#times.takingLimitMs);
    const { http } = listener.options;
    this.#session = new Http2Session(socket, sessionOptions(http, listener.runtime.stats.http2()), this);
    this.#read();
    this.wakeWithin(this.#times.firstLookMs);
    // It may have been sniffed out (listen/codec.ts) while the listener began to drain.
    this.drain();
    if (http.http2.keepaliveIntervalMs > 0) timers.schedule(this.#keepaliveTimer, http.http2.keepaliveIntervalMs);
  }

  /** The first bytes may lie in the socket's stream already; those after them are read in the cheapest way there is. */
  #read(): void {
    const session = this.#session;
    const socket = this.#socket.on("data", (bytes: Buffer) => {
      session.receive(bytes, 0, bytes.length);
      readInto(socket, (length) => session.receive(readBuffer, 0, length));
    });
    if (socket.isPaused()) socket.resume();
  }

  onRequest(http2: Http2Stream, fields: readonly string[], end: boolean): void {
    const { http } = this.#listener.options;
    const served = new ServedStream(this, http2);
    http2.handler = served;
    const stream = new Stream(served, this.#listener, this.#peer, now());
    served.stream = stream;
    this.#streams.add(served);
    this.#requests++;
    if (http.requestTimeoutMs > 0 && !end) this.wakeWithin(http.requestTimeoutMs);
    if (http.maxRequestsPerConnection > 0 && this.#requests === http.maxRequestsPerConnection) {
      this.#listener.stats.downstream_cx_max_requests_reached.inc();
      this.#sendAway();
    }
    if (!this.#draining && this.#listener.crowd?.sendsAway() === true) this.#sendAway();
    this.drain();
    const request = readRequestHead(fields, http);
    if (!(request instanceof Violation)) {
      if (request.droppedFields > 0) this.#session.stats.dropped_headers_with_underscores.inc(request.droppedFields);
      return served.begin(request, end);
    }
    if (request === violations.underscore) this.#session.stats.requests_rejected_with_underscores_in_headers.inc();
    this.#listener.stats.downstream_cx_protocol_error.inc();
    stream.reply(malformed(request));
  }

  onStreamClosed(served: ServedStream, complete: boolean): void {
    if (!this.#streams.delete(served)) return;
    const at = now();
    this.#times.idleSince = at;
    this.#count(complete, at - served.stream.record.startedAt);
    if (this.#streams.size === 0) this.wakeWithin(this.#quietMs);
  }

  onRefused(code: number, abort: Abort | undefined): void {
    if (code === codes.ENHANCE_YOUR_CALM) this.#listener.stats.downstream_rq_too_large.inc();
    if (abort !== undefined) reportRefused(this.#listener, this.#peer, this.scheme, abort);
    this.onStreamError(code);
    this.#count(false, 0);
  }

  onStreamError(code: number): void {
    const { options } = this.#listener;
    if (code === codes.PROTOCOL_ERROR && options.http.http2.malformedEndsConnection) this.#session.fail(code);
  }

  #count(complete: boolean, lifeMs: number): void {
    if (!this.#resets.allows(complete, lifeMs)) this.#session.fail(codes.ENHANCE_YOUR_CALM);
  }

  onFailed(): void {
    this.#listener.stats.downstream_cx_protocol_error.inc();
  }

  onUnfinished(): void {
    const { requestHeadersTimeoutMs } = this.#listener.options.http;
    if (requestHeadersTimeoutMs > 0) this.wakeWithin(requestHeadersTimeoutMs);
  }

  onSettings(): void {}

  /** It is about to go; RFC 9113, 6.8 leaves it free to open streams until then. */
  onGoaway(): void {
    this.#sendAway();
  }

  onPong(kind: number): void {
    if (kind === DRAIN_PING) return this.onTimer(ON_DRAINED);
    this.#pinged = false;
    timers.schedule(this.#keepaliveTimer, this.#listener.options.http.http2.keepaliveIntervalMs);
  }

  /** Sends the client away, if the listener drains, as soon as it loses nothing by it ({@link ConnectionTimes.checkLeaving}). */
  drain(): void {
    if (this.#draining || !this.#listener.draining) return;
    this.wakeWithin(this.#leave(now()));
  }

  /** Sends the client away if it is time. Returns in how many ms to look again. */
  #leave(at: number): number {
    if (this.#draining || !this.#listener.draining) return Number.POSITIVE_INFINITY;
    const left = this.#times.checkLeaving(this.#streams.size === 0, at);
    if (left > 0) return left;
    this.#sendAway();
    return Number.POSITIVE_INFINITY;
  }

  /**
   * Lets the streams that are there end, and takes no new ones. The client is told first, and refused only once it must have heard
   * (RFC 9113, 6.8): when it has answered a PING that came behind, at the latest after drain_timeout. So no request that it sent meanwhile is lost.
   */
  #sendAway(): void {
    if (this.#draining || !this.#session.isOpen) return;
    this.#draining = true;
    if (this.#listener.draining) this.#listener.stats.downstream_cx_drain_close.inc();
    this.#session.announceEnd();
    timers.schedule(this.#drainTimer, this.#listener.options.http.drainTimeoutMs);
    this.#session.ping(DRAIN_PING);
  }

  destroy(): void {
    this.#session.destroy();
  }

  wakeWithin(ms: number): void {
    if (ms < Number.POSITIVE_INFINITY && this.#session.isOpen) timers.scheduleWithin(this.#timer, ms);
  }

  onTimer(kind: number): void {
    if (!this.#session.isOpen) return;
    if (kind === ON_CHECK) return this.wakeWithin(this.#checkTimes(now()));
    if (kind === ON_KEEPALIVE) return this.#keepAlive();
    timers.cancel(this.#drainTimer);
    this.#session.close();
  }

  /** Sends a keepalive PING, or finds that the last one was not answered in time. */
  #keepAlive(): void {
    if (this.#pinged) {
      this.#session.stats.keepalive_timeout.inc();
      return this.destroy();
    }
    this.#pinged = true;
    this.#session.ping(KEEPALIVE_PING);
    timers.schedule(this.#keepaliveTimer, this.#listener.options.http.http2.keepaliveTimeoutMs);
  }

  /** Acts on what is overdue. Returns in how many ms to look again. */
  #checkTimes(at: number): number {
    const head = Math.min(this.#checkHead(at), this.#leave(at));
    if (this.#streams.size === 0) {
      const taking = this.#session.output.unsentBytes > 0 ? this.#times.checkTaking(at) : Number.POSITIVE_INFINITY;
      if (taking <= 0) {
        this.destroy();
        return Number.POSITIVE_INFINITY;
      }
      const left = Math.min(taking, this.#times.checkIdle(at));
      if (left <= 0) this.#sendAway();
      return left > 0 ? Math.min(left, head) : head;
    }
    let soonest = this.#times.checkLife(at);
    if (soonest <= 0) {
      if (!this.#draining) this.#listener.stats.downstream_cx_max_duration_reached.inc();
      this.#sendAway();
      soonest = Number.POSITIVE_INFINITY;
    }
    for (const served of this.#streams) soonest = Math.min(soonest, this.#checkStream(served, at));
    return Math.min(soonest, head);
  }

  /** ms until a head, or another frame, that never ends ends the connection: there is no stream yet to answer it on. */
  #checkHead(at: number): number {
    const { requestHeadersTimeoutMs } = this.#listener.options.http;
    const since = this.#session.unfinishedSince;
    if (since < 0 || requestHeadersTimeoutMs === 0) return Number.POSITIVE_INFINITY;
    const left = since + requestHeadersTimeoutMs - at;
    if (left > 0) return left;
    this.#listener.stats.downstream_rq_header_timeout.inc();
    this.#session.fail(codes.ENHANCE_YOUR_CALM);
    return Number.POSITIVE_INFINITY;
  }

  #checkStream(served: ServedStream, at: number): number {
    const { stream } = served;
    if (!stream.ended) return this.#times.checkStream(stream, !stream.requestDone, at);
    // The response is all there, and the client doesn't take it.
    const { streamIdleTimeoutMs } = this.#listener.options.http;
    const left = stream.record.endAt + streamIdleTimeoutMs - at;
    if (streamIdleTimeoutMs === 0 || left > 0) return left > 0 ? left : Number.POSITIVE_INFINITY;
    this.#listener.stats.downstream_rq_idle_timeout.inc();
    this.#session.stats.tx_flush_timeout.inc();
    served.cut();
    return Number.POSITIVE_INFINITY;
  }

  onClosed(): void {
    for (const timer of [this.#timer, this.#drainTimer, this.#keepaliveTimer]) timers.cancel(timer);
    this.#listener.stats.downstream_cx_rx_bytes_total.inc(this.#socket.bytesRead);
    this.#times.closed(this.#socket.bytesWritten);
    this.#onClosed(this);
  }
}

function sessionOptions(
  { http2, maxHeadersCount, maxRequestHeadersKb, delayedCloseTimeoutMs }: HttpOptions,
  stats: Http2Stats,
): SessionOptions {
  return {
    isClient: false,
    delayedCloseTimeoutMs,
    settingsTimeoutMs: SETTINGS_TIMEOUT_MS,
    stats,
    settings: {
      headerTableBytes: http2.hpackTableBytes,
      streamWindowBytes: http2.streamWindowBytes,
      connectionWindowBytes: http2.connectionWindowBytes,
      maxConcurrentStreams: http2.maxConcurrentStreams,
      headerListBytes: maxRequestHeadersKb * 1_024,
      headerFields: maxHeadersCount + PSEUDO_HEADERS,
      connectProtocol: http2.allowConnect,
    },
  };
}
