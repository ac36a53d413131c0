import type { Headers } from "../headers.ts";
import type { Framing } from "../http1/outbox.ts";
import { now } from "../listen/clock.ts";
import type { HttpOptions } from "../listen/options.ts";
import type { ListenerState } from "../listen/state.ts";
import type { RequestHead } from "../request.ts";
import type { HeaderMutation } from "../route/header-mutations.ts";
import type { Route, RouteTable } from "../route/route.ts";
import type { BodyPaces } from "./body-paces.ts";
import { emptyHead, type Peer, StreamRecord } from "./record.ts";

/** What the router, the filters and the upstream side read and set of a stream: how far it is, what the route made of it, and its times. */
export abstract class StreamState {
  readonly listener: ListenerState;
  /** Those of the time when the request began. */
  readonly options: HttpOptions;
  readonly record: StreamRecord;
  head: RequestHead;
  /** How the request's body goes on to the upstream. */
  requestFraming: Framing = "none";
  /** The upgrade that is asked for and allowed, "" if none. */
  upgrade = "";
  upgraded = false;
  /** Whether the request is there to its last byte. */
  requestDone = false;
  /** Whether it has also passed the filters to its last byte. */
  requestPassed = false;
  /** The routes of the time when the request began. */
  table: RouteTable | undefined = undefined;
  /** The route, where it was settled before the filters saw the request; undefined: the router finds it. */
  matched: Route | "none" | undefined = undefined;
  /** What the route changes of the response's header fields. */
  responseMutation: HeaderMutation | undefined = undefined;
  /** What follows the request's body, once it has passed the filters. */
  requestTrailers: Headers | undefined = undefined;
  /** For streams on which nothing moves, in ms; 0: none. */
  idleTimeoutMs: number;
  /** How long it may take from its first byte to its last, in ms; 0: as long as it likes. */
  maxDurationMs = 0;
  /** When the route's time for the response is over; Infinity: it has none, or hasn't begun. */
  responseDueAt = Number.POSITIVE_INFINITY;
  /** When anything of it moved last (performance.now()). */
  movedAt: number;
  /** Whether the client keeps up; undefined: nobody has waited for it yet. */
  paces: BodyPaces | undefined = undefined;

  constructor(listener: ListenerState, peer: Peer, startedAt: number, scheme: "http" | "https") {
    this.listener = listener;
    this.options = listener.options.http;
    this.record = new StreamRecord(peer, startedAt);
    this.movedAt = startedAt;
    this.idleTimeoutMs = this.options.streamIdleTimeoutMs;
    this.head = emptyHead(peer, scheme);
    listener.stats.downstream_rq_total.inc();
    listener.stats.downstream_rq_active.inc();
  }

  /** Asks for a look at the stream's times within so many ms at most. */
  abstract wakeWithin(ms: number): void;

  /** Notes a response flag of Envoy's. */
  addFlag(flag: string): void {
    const { record } = this;
    if (!record.flags.includes(flag)) record.flags = [...record.flags, flag];
  }

  /** The route's own idle timeout, in ms; 0: none. */
  setIdleTimeout(ms: number): void {
    this.idleTimeoutMs = ms;
    if (ms > 0) this.wakeWithin(ms);
  }

  /** How long the stream may take from its first byte to its last, in ms; 0: as long as it likes. */
  setMaxDuration(ms: number): void {
    this.maxDurationMs = ms;
    if (ms > 0) this.wakeWithin(ms);
  }

  /** The response is to be complete within so many ms from now. */
  expectResponseWithin(ms: number): void {
    this.responseDueAt = now() + ms;
    this.wakeWithin(ms);
  }

  /** Whether the time for its response is over. */
  isOverdue(at: number): boolean {
    return this.responseDueAt <= at;
  }
}
