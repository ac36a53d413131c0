import type { Endpoint } from "../cluster/cluster.ts";
import type { Stream } from "../filters/stream.ts";
import { type Headers, NumberField } from "../headers.ts";
import type { ResponseMessage } from "../http1/response-head.ts";
import { now } from "../listen/clock.ts";
import { Timer, type TimerOwner, timers } from "../listen/timers.ts";
import { replies, type ResetReason, upstreamReset } from "../reply.ts";
import type { ForwardAction, HashResult } from "../route/route.ts";
import type { ClusterContext } from "./cluster-context.ts";
import type { UpstreamRequest } from "./upstream-request.ts";
import { outgoingHost, requestText } from "./outgoing-head.ts";
import { poolOf } from "./pools.ts";
import type { Http2ClientStream } from "./http2-stream.ts";
import { RequestBody } from "./request-body.ts";
import { countAnswer, countEnd, countStart } from "./request-counts.ts";
import type { ResponseReceiver } from "./response-receiver.ts";
import { isIdempotent, RetryState, retriesReset, retriesResponse } from "./retry.ts";
import { TryTimes } from "./try-times.ts";
import type { Carrier, Pool, PoolUser } from "./waiting-pool.ts";

const attemptCount = new NumberField("x-envoy-attempt-count");

const ON_TRY_TIMEOUT = 0;
const ON_BACK_OFF = 1;
const ON_TRY_IDLE = 2;

/**
 * One request on its way to a cluster: picks an endpoint, sends, tries again where that is allowed, keeps the route's times, and hands the
 * response to the stream. It ends by end(), whoever ends it.
 */
export class Forward implements UpstreamRequest, ResponseReceiver, PoolUser, TimerOwner {
  readonly #stream: Stream;
  readonly #action: ForwardAction;
  readonly #cluster: ClusterContext;
  readonly #body = new RequestBody();
  readonly #hash: HashResult | undefined;
  readonly #tryTimes: TryTimes | undefined;
  #backOffTimer: Timer | undefined = undefined;
  #endpoint: Endpoint | undefined = undefined;
  #pool: Pool | undefined = undefined;
  #connection: Carrier | undefined = undefined;
  #tried: Set<Endpoint> | undefined = undefined;
  #retries: RetryState | undefined = undefined;
  #redialled = false;
  #requestPaused = false;
  #responsePaused = false;
  #responding = false;
  /** Whether the endpoint has ended its half of a tunnel. */
  #halfEnded = false;
  /** Whether the codec is still handing over what it has just read of the request; it flushes by itself when it is done. */
  #starting = true;
  #ended = false;
  /** Whether the endpoint that answered is a canary. */
  #isCanary = false;

  constructor(stream: Stream, action: ForwardAction, cluster: ClusterContext, hash: HashResult | undefined) {
    this.#stream = stream;
    this.#action = action;
    this.#cluster = cluster;
    this.#hash = hash;
    this.#tryTimes = TryTimes.of(action.retry, this, ON_TRY_TIMEOUT, ON_TRY_IDLE);
  }

  start(): void {
    const { cluster, stats, load, breakers } = this.#cluster;
    if (load.requests >= breakers.maxRequests) {
      stats.upstream_rq_pending_overflow.inc();
      this.#ended = true;
      return this.#stream.reply(upstreamReset("overflow", "", false));
    }
    countStart(this.#cluster);
    this.#stream.record.upstreamCluster = this.#cluster.statName;
    this.#stream.record.upstreamClusterRaw = cluster.name;
    this.#try();
    this.#starting = false;
  }

  /** A piece of the request's body, which stays as it is. */
  onRequestData(piece: Buffer): void {
    if (this.#ended) return;
    const connection = this.#connection;
    if (!this.#responding && this.#body.replayable) this.#body.add(piece);
    if (connection === undefined) {
      if (this.#body.full) this.#pauseRequest();
      return;
    }
    if (this.#body.full) this.#body.release();
    if (!connection.sendData(piece)) this.#pauseRequest();
  }

  onRequestEnd(): void {
    if (this.#ended) return;
    this.#connection?.sendEnd(this.#stream.requestTrailers);
    if (this.#stream.upgraded) return;
    if (this.#action.timeoutMs > 0) this.#stream.expectResponseWithin(this.#action.timeoutMs);
    if (!this.#responding) this.#tryTimes?.start();
  }

  /** The client takes more of the response again. */
  onDownstreamWritable(): void {
    if (!this.#responsePaused) return;
    this.#responsePaused = false;
    this.#connection?.resume();
  }

  flushRequest(): void {
    this.#connection?.flush();
  }

  /** The stream ended without the whole response, or as a tunnel whose halves have both ended. */
  abort(): void {
    if (this.#ended) return;
    if (this.#halfEnded && this.#stream.requestDone) {
      this.#connection?.finish();
      this.#connection = undefined;
    } else this.#cluster.stats.upstream_rq_cancelled.inc();
    this.#end();
  }

  #try(): void {
    const { record } = this.#stream;
    const { cluster } = this.#cluster;
    const attempts = this.#action.retry?.hostSelectionAttempts ?? 1;
    const endpoint = cluster.pick(this.#hash?.hash, this.#tried, attempts);
    if (endpoint === undefined) {
      this.#cluster.stats.upstream_cx_none_healthy.inc();
      this.#end();
      return this.#stream.reply(replies.noHealthyUpstream);
    }
    this.#endpoint = endpoint;
    endpoint.activeRequests++;
    record.upstreamHost = endpoint.key;
    record.attempts++;
    if (this.#action.attemptCount?.inRequest === true) attemptCount.set(this.#stream.head.headers, record.attempts);
    this.#cluster.stats.upstream_rq_total.inc();
    this.#pool = poolOf(this.#cluster, endpoint, record.protocol === "HTTP/2", this.#stream.head.authority);
    if (this.#stream.requestPassed) this.#tryTimes?.start();
    this.#pool.acquire(this);
  }

  onConnection(connection: Carrier): void {
    const stream = this.#stream;
    this.#connection = connection;
    stream.record.upstreamLocalAddress = connection.localAddress;
    const { head, upgrade } = stream;
    const host = outgoingHost(head, this.#action.hostRewrite, this.#endpoint as Endpoint);
    if (connection.isHttp2) this.#sendHttp2(connection, host);
    else connection.send(this, head.method, requestText(head, host, upgrade), stream.requestFraming, upgrade);
    // It may have been gone already, and this attempt with it.
    if (this.#connection !== connection) return;
    for (const piece of this.#body.pieces()) connection.sendData(piece);
    if (this.#body.full) this.#body.release();
    if (stream.requestPassed) connection.sendEnd(stream.requestTrailers);
    // So that a body that came with its head also leaves with it.
    if (!this.#starting) connection.flush();
    this.#resumeRequest();
    this.#tryTimes?.moved();
  }

  /** The upgrade that the connection must be able to carry, "" if none. */
  get wantedUpgrade(): string {
    return this.#stream.upgrade;
  }

  #sendHttp2(connection: Http2ClientStream, authority: string): void {
    const { head, upgrade } = this.#stream;
    const { method, scheme, path, headers } = head;
    connection.sendRequest(this, { method, scheme, authority, path, headers, upgrade });
  }

  onPoolFailure(reason: ResetReason, transportFailure: string): void {
    this.#attemptFailed(reason, transportFailure, false);
  }

  onUpstreamReset(reason: ResetReason, transportFailure: string): void {
    const connection = this.#connection;
    this.#connection = undefined;
    this.#cluster.stats.upstream_rq_rx_reset.inc();
    const stream = this.#stream;
    // An idle connection may die just as a request is sent on it; nobody has seen the request then, so it's asked again at once.
    const lost = connection?.reused === true && !connection.responseBegun && reason === "connection termination";
    const givenBack = connection?.isHttp2 === true && connection.givenBack && reason === "remote refused stream reset";
    const unseen = givenBack || (lost && isIdempotent(stream.head));
    if (unseen && !this.#redialled && this.#body.replayable && stream.upgrade === "") {
      this.#redialled = true;
      this.#leaveEndpoint();
      return this.#try();
    }
    this.#attemptFailed(reason, transportFailure, true);
  }

  #attemptFailed(reason: ResetReason, transportFailure: string, sent: boolean): void {
    if (this.#ended) return;
    const stream = this.#stream;
    if (transportFailure !== "") stream.record.upstreamTransportFailure = transportFailure;
    if (this.#responding) {
      this.#end();
      return stream.onUpstreamCut(reason);
    }
    const retry = this.#action.retry;
    if (retry !== undefined && retriesReset(retry, reason, sent) && this.#retry()) return;
    this.#end();
    stream.reply(upstreamReset(reason, transportFailure, this.#hasRetried));
  }

  /** Arranges for another attempt. False: there may be none. */
  #retry(): boolean {
    const retry = this.#action.retry;
    if (
      retry === undefined ||
      !this.#stream.requestPassed ||
      !this.#body.replayable ||
      !retry.applies(this.#stream.head)
    ) {
      return false;
    }
    const wait = (this.#retries ??= new RetryState(retry, this.#cluster)).take();
    if (wait === "limit") this.#stream.addFlag("URX");
    if (typeof wait === "string") return false;
    (this.#tried ??= new Set()).add(this.#endpoint as Endpoint);
    this.#leaveEndpoint();
    this.#backOffTimer ??= new Timer(this, ON_BACK_OFF);
    timers.schedule(this.#backOffTimer, wait);
    return true;
  }

  get #hasRetried(): boolean {
    return this.#retries !== undefined && this.#retries.count > 0;
  }

  onInformational(message: ResponseMessage): void {
    this.#stream.onUpstreamInformational(message.status, message.headers);
  }

  onResponseHead(message: ResponseMessage, end: boolean): void {
    const stream = this.#stream;
    const { status, headers } = message;
    // The connection has gone back to the pool by itself.
    if (end) this.#connection = undefined;
    const retry = this.#action.retry;
    if (retry !== undefined && retriesResponse(retry, status, headers) && this.#retry()) {
      // As in Envoy, what nobody gets to see counts here alone.
      this.#cluster.stats.statusOf("retry", status);
      return;
    }
    stream.record.responseHeadAt = now();
    this.#isCanary = countAnswer(this.#cluster, stream, this.#endpoint, status, headers);
    if (this.#hasRetried && status < 500) this.#cluster.stats.upstream_rq_retry_success.inc();
    this.#responding = true;
    this.#body.release();
    this.#tryTimes?.answered();
    const cookie = this.#hash?.setCookie;
    if (cookie !== undefined) headers.add("set-cookie", cookie);
    if (message.status === 101) {
      this.#tryTimes?.cancel();
      stream.responseDueAt = Number.POSITIVE_INFINITY;
      return stream.onUpstreamUpgrade(headers, message.upgrade);
    }
    if (this.#action.attemptCount?.inResponse === true) attemptCount.set(headers, stream.record.attempts);
    if (end) this.#end();
    stream.onUpstreamHead(status, headers, end);
  }

  onResponseData(bytes: Buffer, from: number, to: number): void {
    if (this.#tryTimes !== undefined && !this.#stream.upgraded) this.#tryTimes.moved();
    if (this.#stream.onUpstreamData(bytes, from, to) || this.#responsePaused) return;
    this.#responsePaused = true;
    this.#connection?.pause();
  }

  onResponseEnd(trailers?: Headers): void {
    // The end of a tunnel's one direction leaves the other open.
    if (this.#stream.upgraded) this.#halfEnded = true;
    else {
      this.#connection = undefined;
      this.#end();
    }
    this.#stream.onUpstreamEnd(trailers);
  }

  onUpstreamWritable(): void {
    this.#resumeRequest();
  }

  flush(): void {
    this.#stream.flushResponse();
  }

  onTimer(kind: number): void {
    const { stats } = this.#cluster;
    if (kind === ON_BACK_OFF) return this.#try();
    if (kind === ON_TRY_TIMEOUT) {
      stats.upstream_rq_per_try_timeout.inc();
      return this.#giveUpTry("per try timeout");
    }
    stats.upstream_rq_per_try_idle_timeout.inc();
    return this.#giveUpTry("per try idle timeout");
  }

  onResponseOverdue(): void {
    this.#cluster.stats.upstream_rq_timeout.inc();
    const responding = this.#responding;
    this.#end();
    if (responding) this.#stream.onUpstreamCut("response timeout");
    else this.#stream.reply(replies.responseTimeout);
  }

  #giveUpTry(reason: ResetReason): void {
    const connection = this.#connection;
    this.#connection = undefined;
    connection?.abandon();
    this.#attemptFailed(reason, "", true);
  }

  #pauseRequest(): void {
    if (this.#requestPaused) return;
    this.#requestPaused = true;
    this.#stream.pauseRequest();
  }

  #resumeRequest(): void {
    if (!this.#requestPaused) return;
    this.#requestPaused = false;
    this.#stream.resumeRequest();
  }

  #leaveEndpoint(): void {
    if (this.#endpoint === undefined) return;
    this.#endpoint.activeRequests--;
    this.#endpoint = undefined;
    this.#pool?.cancel(this);
    this.#pool = undefined;
    this.#tryTimes?.cancel();
    const connection = this.#connection;
    this.#connection = undefined;
    connection?.abandon();
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    countEnd(this.#cluster, this.#stream, this.#isCanary);
    this.#retries?.release();
    if (this.#backOffTimer !== undefined) timers.cancel(this.#backOffTimer);
    this.#stream.responseDueAt = Number.POSITIVE_INFINITY;
    this.#leaveEndpoint();
    this.#body.release();
  }
}
