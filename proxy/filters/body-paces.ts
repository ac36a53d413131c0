import { performance } from "node:perf_hooks";

import { replies } from "../reply.ts";
import { isGrpc } from "../grpc-status.ts";
import { Pace } from "./pace.ts";
import type { Stream } from "./stream.ts";

/**
 * Holds the client of one stream to the listener's minimum rates, with its request's body as with the response. A tunnel has no rates, nor has
 * a request that is part of a conversation: a call of gRPC, and one that is being answered already.
 */
export class BodyPaces {
  #request: Pace | undefined = undefined;
  #response: Pace | undefined = undefined;

  /** A body is about to come. */
  static awaitBody(stream: Stream): void {
    const rate = stream.options.bodyRates?.request;
    if (rate === undefined || rate.bytesPerSecond === 0 || isGrpc(stream.head.headers)) return;
    const pace = new Pace(rate);
    pace.wait(stream.record.startedAt, 0);
    (stream.paces ??= new BodyPaces()).#request = pace;
    stream.wakeWithin(rate.graceMs);
  }

  /** The client is behind with the response: there is more of it than it takes. */
  static awaitReader(stream: Stream): void {
    const rate = stream.options.bodyRates?.response;
    if (rate === undefined || rate.bytesPerSecond === 0 || stream.upgraded) return;
    const paces = (stream.paces ??= new BodyPaces());
    (paces.#response ??= new Pace(rate)).wait(performance.now(), stream.sentBytes);
    stream.wakeWithin(rate.graceMs);
  }

  /** Whether it's the client's turn to send changes: it is not while we don't read. */
  requestPaused(stream: Stream, paused: boolean): void {
    const now = performance.now();
    if (paused) this.#request?.rest(now, stream.record.bytesReceived);
    else this.#request?.wait(now, stream.record.bytesReceived);
  }

  /** The client has caught up with the response. */
  caughtUp(stream: Stream): void {
    this.#response?.rest(performance.now(), stream.sentBytes);
  }

  /** Ends the stream if its client is too slow. Returns in how many ms to look again; Infinity: never. */
  check(stream: Stream, now: number): number {
    if (stream.upgraded) return Number.POSITIVE_INFINITY;
    const { stats } = stream.listener;
    const response = this.#response?.left(now, stream.sentBytes) ?? Number.POSITIVE_INFINITY;
    if (response <= 0) {
      stats.downstream_rq_idle_timeout.inc();
      stream.reply(replies.slowReader);
      return Number.POSITIVE_INFINITY;
    }
    if (stream.requestDone || stream.responding) return response;
    const request = this.#request?.left(now, stream.record.bytesReceived) ?? Number.POSITIVE_INFINITY;
    if (request > 0) return Math.min(request, response);
    stats.downstream_rq_timeout.inc();
    stream.reply(replies.slowBody);
    return Number.POSITIVE_INFINITY;
  }
}
