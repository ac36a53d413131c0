import { performance } from "node:perf_hooks";

import { checkStreamTimes } from "../filters/stream-times.ts";
import type { Stream } from "../filters/stream.ts";
import type { ListenerState } from "../listen/state.ts";
import { type LocalReply, replies } from "../reply.ts";

/** ms left of a limit; 0 or less: it is over; Infinity: there is none. */
const remaining = (since: number, limitMs: number, now: number): number =>
  limitMs > 0 ? since + limitMs - now : Number.POSITIVE_INFINITY;

/** How long a connection must have been idle to be closed while it drains, where its listener doesn't say. */
const DRAIN_IDLE_MS = 1_000;
/** How many times as long, up to so much, where there was no request yet: nobody connects without one in mind, and a slow client may be about to send it. */
const DRAIN_IDLE_TIMES_NEW = 4;
const DRAIN_IDLE_MS_MAX_NEW = 10_000;

/** How long an HTTP/2 connection stays at least, whatever becomes of its listener. */
const SETTLED_MS = 1_000;

/** How long a client that closed its half may wait for a response on which nothing moves, before it counts as gone. */
const HALF_CLOSE_GRACE_MS = 1_000;

/** Since when a client's connection has been in which state, against the limits of its listener. Times are performance.now(). */
export class ConnectionTimes {
  readonly openedAt: number = performance.now();
  /** When the last stream ended. */
  idleSince: number = this.openedAt;
  /** When the head that is being read began; -1: none is. */
  headSince = -1;
  /** What was written when a client that ended its half was last looked at; -1: it was not yet. */
  #graceBytes = -1;

  readonly #listener: ListenerState;

  constructor(listener: ListenerState) {
    this.#listener = listener;
  }

  /** When a new connection is to be looked at for the first time, in ms; Infinity: never. */
  get firstLookMs(): number {
    const { connectionIdleTimeoutMs, maxConnectionDurationMs } = this.#listener.options.http;
    return Math.min(
      connectionIdleTimeoutMs || Number.POSITIVE_INFINITY,
      maxConnectionDurationMs || Number.POSITIVE_INFINITY,
    );
  }

  /** The sooner of the limits that hold from the first byte of a head on, in ms; Infinity: none. */
  get headLimitMs(): number {
    const { requestHeadersTimeoutMs, requestTimeoutMs, streamIdleTimeoutMs } = this.#listener.options.http;
    return Math.min(
      ...[requestHeadersTimeoutMs, requestTimeoutMs, streamIdleTimeoutMs].map((ms) => ms || Number.POSITIVE_INFINITY),
    );
  }

  /** ms until a connection without a request is to be closed; 0 or less: now, and it is counted. */
  checkIdle(now: number): number {
    const { options, stats } = this.#listener;
    const idle = remaining(this.idleSince, options.http.connectionIdleTimeoutMs, now);
    if (idle <= 0) stats.downstream_cx_idle_timeout.inc();
    const life = this.checkLife(now);
    if (life <= 0) stats.downstream_cx_max_duration_reached.inc();
    return Math.min(idle, life);
  }

  /** How long a client may leave the end of a response untaken, in ms; Infinity: as long as it likes. */
  get takingLimitMs(): number {
    return this.#listener.options.http.streamIdleTimeoutMs || Number.POSITIVE_INFINITY;
  }

  /** ms until a client that has not taken all of the last response yet is to be cut off; 0 or less: now, and it is counted. */
  checkTaking(now: number): number {
    const left = this.idleSince + this.takingLimitMs - now;
    if (left <= 0) this.#listener.stats.downstream_rq_idle_timeout.inc();
    return left;
  }

  /**
   * ms until a connection without a request, whose listener drains, is to be closed. Not at once: a client that is busy is about to send its next
   * request, which would meet a closed connection; answered with "connection: close", it moves on without a loss.
   */
  #checkDrain(now: number, isNew = false): number {
    const { drainIdleMs = DRAIN_IDLE_MS } = this.#listener;
    const limitMs = isNew ? Math.min(drainIdleMs * DRAIN_IDLE_TIMES_NEW, DRAIN_IDLE_MS_MAX_NEW) : drainIdleMs;
    return remaining(this.idleSince, limitMs, now);
  }

  /**
   * ms until an HTTP/2 connection whose listener drains is to be told so (GOAWAY); 0 or less: now. While it has a request that is at once: its client
   * hears of it before the answer, and begins nothing that would be refused. Else when it has been idle for a moment. But never in its first second:
   * clients send here what was refused on a connection that drained, and gRPC does so once (gRFC A6, transparent retries).
   */
  checkLeaving(idle: boolean, now: number): number {
    return Math.max(remaining(this.openedAt, SETTLED_MS, now), idle ? this.#checkDrain(now) : 0);
  }

  /** Whether the connection closes after the request that has just begun, by whatever limit; `requests`: how many it has had, this one included. */
  isLastRequest(requests: number): boolean {
    const { draining, stats, options, crowd } = this.#listener;
    const { maxRequestsPerConnection, maxConnectionDurationMs } = options.http;
    if (draining) stats.downstream_cx_drain_close.inc();
    const enough = maxRequestsPerConnection > 0 && requests >= maxRequestsPerConnection;
    if (enough) stats.downstream_cx_max_requests_reached.inc();
    if (crowd?.sendsAway() === true) return true;
    return draining || enough || (maxConnectionDurationMs > 0 && this.checkLife(performance.now()) <= 0);
  }

  /** Counts the connection, which is gone; `written`: bytes sent to the client in all. */
  closed(written: number): void {
    const { stats } = this.#listener;
    stats.downstream_cx_active.dec();
    stats.downstream_cx_destroy.inc();
    stats.downstream_cx_tx_bytes_total.inc(written);
    stats.downstream_cx_length_ms.record(performance.now() - this.openedAt);
  }

  /** ms until a client that closed its half is looked at again; 0: nothing has moved since the last look. `written`: bytes so far. */
  checkGrace(written: number): number {
    if (this.#graceBytes === written) return 0;
    this.#graceBytes = written;
    return HALF_CLOSE_GRACE_MS;
  }

  /** ms until the connection has been open long enough. */
  checkLife(now: number): number {
    return remaining(this.openedAt, this.#listener.options.http.maxConnectionDurationMs, now);
  }

  /** Ends a stream that takes too long; `reading`: its request isn't complete. Returns in how many ms to look again. */
  checkStream(stream: Stream, reading: boolean, now: number): number {
    const { options, stats } = this.#listener;
    const { requestTimeoutMs, connectionIdleTimeoutMs } = options.http;
    let left = checkStreamTimes(stream, now);
    // As in Envoy it ends when the response begins: what is still to come of the request then is part of a conversation, or of a tunnel.
    if (reading && !stream.ended && !stream.responding) {
      const request = remaining(stream.record.startedAt, requestTimeoutMs, now);
      if (request > 0) left = Math.min(left, request);
      else {
        stats.downstream_rq_timeout.inc();
        stream.reply(replies.requestTimeout);
      }
    }
    const life = this.checkLife(now);
    if (life > 0) left = Math.min(left, life);
    // The connection may become idle before it is looked at again.
    return Math.min(left, connectionIdleTimeoutMs || Number.POSITIVE_INFINITY);
  }

  /**
   * ms until a connection without a stream is to be looked at again, or what is overdue: a reply to what is no request yet, or its end. `unsentBytes`: of
   * the last response.
   */
  checkBetween(unsentBytes: number, now: number): number | LocalReply | "close" | "destroy" {
    if (this.headSince >= 0) return this.#checkHead(now);
    const taking = unsentBytes > 0 ? this.checkTaking(now) : Number.POSITIVE_INFINITY;
    if (taking <= 0) return "destroy";
    const isNew = this.idleSince === this.openedAt;
    const left = this.#listener.draining ? this.#checkDrain(now, isNew) : this.checkIdle(now);
    return left <= 0 ? "close" : Math.min(left, taking);
  }

  /** ms until the head that is being read takes too long, or the reply when it does; that is counted. */
  #checkHead(now: number): number | LocalReply {
    const { options, stats } = this.#listener;
    const { requestHeadersTimeoutMs, requestTimeoutMs, streamIdleTimeoutMs } = options.http;
    const head = remaining(this.headSince, requestHeadersTimeoutMs, now);
    const request = remaining(this.headSince, requestTimeoutMs, now);
    const idle = remaining(this.headSince, streamIdleTimeoutMs, now);
    if (head <= 0) {
      stats.downstream_rq_header_timeout.inc();
      return replies.requestHeadersTimeout;
    }
    if (request <= 0) {
      stats.downstream_rq_timeout.inc();
      return replies.requestTimeout;
    }
    if (idle <= 0) {
      stats.downstream_rq_idle_timeout.inc();
      return replies.idleRequest;
    }
    return Math.min(head, request, idle);
  }
}
