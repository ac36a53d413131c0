import { Headers } from "../headers.ts";
import { now } from "../listen/clock.ts";
import type { ListenerState } from "../listen/state.ts";
import { startTrace } from "../observe/trace/tracing.ts";
import { addressUnknown, type LocalReply, replies } from "../reply.ts";
import { withoutPort } from "../route/domains.ts";
import type { UpstreamRequest } from "../upstream/upstream-request.ts";
import { BodyPaces } from "./body-paces.ts";
import { Chain, type ChainEnds } from "./chain.ts";
import type { Downstream, IncomingRequest } from "./downstream.ts";
import { addServiceTime, mutateRequestHeaders, mutateResponseHeaders } from "./edge-headers.ts";
import type { FilterStream } from "./filter.ts";
import type { Peer } from "./record.ts";
import { cutFlag, renderReply } from "./render-reply.ts";
import { route } from "./router.ts";
import { reportEnd } from "./stream-end.ts";
import { StreamState } from "./stream-state.ts";
import { normalizeTarget, takeHead } from "./target.ts";
import { safeTrailers } from "./trailers.ts";

/**
 * One request and its response, whatever protocol carries them: what Envoy calls an active stream. The codec pushes the request in, the
 * filters and the router see it, the upstream side pushes the response back. It ends once, in finish(), and is reported there.
 */
export class Stream extends StreamState implements FilterStream, ChainEnds {
  readonly #downstream: Downstream;
  #forward: UpstreamRequest | undefined = undefined;
  #chain: Chain | undefined = undefined;
  #responding = false;
  #responseDone = false;
  #ended = false;

  constructor(downstream: Downstream, listener: ListenerState, peer: Peer, startedAt: number) {
    super(listener, peer, startedAt, downstream.scheme);
    this.record.protocol = downstream.protocol;
    this.#downstream = downstream;
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** Body bytes handed over for sending so far. */
  get sentBytes(): number {
    return this.#downstream.sentBytes;
  }

  /** Whether the response has begun, and so no other can be given. */
  get responding(): boolean {
    return this.#responding;
  }

  /** The head is there; `end`: the request has no body. */
  begin(message: IncomingRequest, end: boolean): void {
    const { options, record, head } = this;
    takeHead(this, message);
    if (end) {
      // The request is one head, which came just now.
      this.requestDone = true;
      record.requestEndAt = record.startedAt;
    } else {
      this.requestFraming = message.chunked ? "chunked" : "length";
      BodyPaces.awaitBody(this);
    }
    if (this.idleTimeoutMs > 0) this.#downstream.wakeWithin(this.idleTimeoutMs);
    if (options.maxStreamDurationMs > 0) this.setMaxDuration(options.maxStreamDurationMs);
    if (message.method === "CONNECT") this.upgrade = "CONNECT";
    else {
      const refusal = normalizeTarget(this, message);
      if (refusal !== undefined) return this.reply(refusal);
    }
    if (this.listener.misdirects?.(withoutPort(head.authority)) === true) return this.reply(replies.misdirected);
    if (message.connectionUpgrade && message.upgrade !== "") this.upgrade = message.upgrade;
    // RFC 9110, 8.6: where a body could be, a request says that there is none.
    if (end && this.upgrade === "" && message.contentLength < 0 && expectsBody(message.method)) {
      head.headers.add("content-length", "0");
    }
    this.table = options.inlineRoutes ?? this.listener.runtime.routeTable(options.routeConfigName);
    const refused = mutateRequestHeaders(head, options, record, this.table?.internalOnlyHeaders);
    if (options.tracing !== undefined) record.trace = startTrace(options.tracing, head, record);
    if (refused !== 0) {
      this.listener.stats.downstream_rq_rejected_via_ip_detection.inc();
      return this.reply(addressUnknown(refused));
    }
    const factories = options.filters;
    if (factories !== undefined) {
      // As in Envoy the route is settled before filters see the request: it says which of them do.
      const matched = this.table?.match(head);
      this.matched = matched ?? "none";
      this.#chain = Chain.create(factories, matched?.filters, this, this);
    }
    if (this.#chain === undefined) return this.requestHead();
    this.#chain.requestHead(head, end);
    if (this.#chain.waiting) this.pauseRequest();
  }

  /** A piece of the request's body; the bytes stay as they are. */
  onRequestData(piece: Buffer): void {
    if (this.#ended) return;
    this.record.bytesReceived += piece.length;
    this.movedAt = now();
    if (this.#chain === undefined || this.upgraded) this.requestData(piece);
    else this.#chain.requestData(piece);
  }

  onRequestEnd(untrusted?: Headers): void {
    if (this.#ended) return;
    const trailers = safeTrailers(untrusted);
    this.#requestEnded();
    if (this.#chain === undefined || this.upgraded) this.requestEnd(trailers);
    else this.#chain.requestEnd(trailers);
    if (this.upgraded && this.#responseDone) this.#finish();
  }

  /** The calls of one read are over. */
  flushRequest(): void {
    this.#forward?.flushRequest();
  }

  #requestEnded(): void {
    this.requestDone = true;
    this.record.requestEndAt = now();
  }

  /** A filter that waited lets the request go on. */
  continue(): void {
    const chain = this.#chain;
    if (chain === undefined || this.#ended || !chain.waiting) return;
    chain.continue();
    if (chain.waiting || this.#ended) return;
    this.resumeRequest();
    this.flushRequest();
    this.#downstream.flush();
  }

  requestHead(): void {
    // A filter that changes the body's length has removed the field.
    if (this.#chain !== undefined && this.requestFraming === "length" && !this.head.headers.has("content-length")) {
      this.requestFraming = "chunked";
    }
    if (this.requestFraming === "none") this.requestPassed = true;
    this.#forward = route(this);
    this.#forward?.start();
    if (this.requestPassed) this.#forward?.onRequestEnd();
  }

  requestData(piece: Buffer): void {
    this.#forward?.onRequestData(piece);
  }

  requestEnd(trailers: Headers | undefined): void {
    this.requestTrailers = trailers;
    this.requestPassed = true;
    this.#forward?.onRequestEnd();
  }

  pauseRequest(): void {
    this.paces?.requestPaused(this, true);
    this.#downstream.pauseRequest();
  }

  resumeRequest(): void {
    this.paces?.requestPaused(this, false);
    this.#downstream.resumeRequest();
  }

  override wakeWithin(ms: number): void {
    this.#downstream.wakeWithin(ms);
  }

  /** Answers by ourselves. Too late once a response has begun: then the stream is cut. */
  reply(reply: LocalReply): void {
    if (this.#ended) return;
    if (reply.flag !== undefined) this.addFlag(reply.flag);
    this.record.details = reply.details;
    if (this.#responding) return this.#cut();
    const headers = new Headers();
    for (const [name, value] of reply.headers ?? []) headers.add(name, value);
    this.#mutateResponse(reply.status, headers);
    const { status, body } = renderReply(this, reply, headers);
    // Envoy doesn't go on with a client that has sent what is malformed or forbidden; and behind a CONNECT come no requests.
    if (reply.status === 400 || reply === replies.upgradeFailed || this.upgrade === "CONNECT") {
      this.#downstream.closeAfterResponse();
    }
    this.#chain?.responseHead(status, headers, body.length === 0);
    this.#respondHead(status, headers, body.length === 0, now());
    if (body.length === 0) this.#responseEnded();
    else {
      this.onUpstreamData(body, 0, body.length);
      this.onUpstreamEnd();
    }
    this.#downstream.flush();
  }

  /** Makes the head final, just before it goes out. */
  #noteResponse(status: number, headers: Headers, at: number): void {
    const { record } = this;
    mutateResponseHeaders(headers, this.options, record, at);
    record.status = status;
    record.responseHeaders = headers;
    record.responseStartAt = at;
    this.movedAt = at;
    this.#responding = true;
  }

  #respondHead(status: number, headers: Headers, end: boolean, at: number): void {
    this.#noteResponse(status, headers, at);
    // The rest of the request may never come, and would be taken for the next one.
    if (!this.requestDone) {
      this.listener.stats.downstream_rq_response_before_rq_complete.inc();
      this.#downstream.closeAfterResponse();
    }
    this.#downstream.sendHead(status, headers, end);
  }

  onUpstreamInformational(status: number, headers: Headers): void {
    // 100 was for us: the client got its own when its head came.
    if (status !== 100 && !this.#responding) this.#downstream.sendInformational(status, headers);
  }

  /** The response that the client gets; `end`: it has no body. */
  onUpstreamHead(status: number, headers: Headers, end: boolean): void {
    if (this.#ended) return;
    const { record } = this;
    record.details = "via_upstream";
    addServiceTime(headers, this.record);
    this.#mutateResponse(status, headers);
    this.#chain?.responseHead(status, headers, end);
    // Both happen in one go, so that one look at the clock does.
    this.#respondHead(status, headers, end, record.responseHeadAt);
    if (end) this.#responseEnded();
  }

  #mutateResponse(status: number, headers: Headers): void {
    if (this.responseMutation === undefined) return;
    // For command operators in values.
    this.record.status = status;
    this.record.responseHeaders = headers;
    this.responseMutation(headers, this.record);
  }

  onUpstreamUpgrade(headers: Headers, upgrade: string): void {
    this.record.details = "via_upstream";
    addServiceTime(headers, this.record);
    headers.add("connection", "upgrade");
    headers.add("upgrade", upgrade);
    this.onUpstreamConnected(headers, 101);
  }

  /** From here on bytes go both ways as they are. */
  onUpstreamConnected(headers: Headers, status: 101 | 200): void {
    const { listener } = this;
    this.#mutateResponse(status, headers);
    this.#noteResponse(status, headers, now());
    this.upgraded = true;
    this.requestDone = false;
    listener.stats.downstream_cx_upgrades_total.inc();
    listener.stats.downstream_cx_upgrades_active.inc();
    this.#downstream.sendUpgrade(status, headers);
  }

  /** False: the client takes no more for now; onDownstreamWritable() follows. */
  onUpstreamData(bytes: Buffer, from: number, to: number): boolean {
    if (this.#ended) return true;
    this.movedAt = now();
    const taken =
      this.#chain === undefined || this.upgraded
        ? this.#downstream.sendData(bytes, from, to)
        : this.#chain.responseData(bytes, from, to);
    if (!taken) BodyPaces.awaitReader(this);
    return taken;
  }

  onUpstreamEnd(untrusted?: Headers): void {
    if (this.#ended) return;
    const trailers = safeTrailers(untrusted);
    if (this.#chain === undefined || this.upgraded) this.responseEnd(trailers);
    else this.#chain.responseEnd(trailers);
  }

  responseData(bytes: Buffer, from: number, to: number): boolean {
    return this.#downstream.sendData(bytes, from, to);
  }

  responseEnd(trailers: Headers | undefined): void {
    this.record.responseTrailers = trailers;
    this.#downstream.sendEnd(trailers);
    this.#responseEnded();
  }

  #responseEnded(): void {
    this.#responseDone = true;
    if (!this.upgraded || this.requestDone) this.#finish();
  }

  flushResponse(): void {
    this.#downstream.flush();
  }

  /** The upstream broke off after the response had begun. */
  onUpstreamCut(reason: string): void {
    if (this.#ended) return;
    this.addFlag(cutFlag(reason));
    this.listener.stats.rq_reset_after_downstream_response_started.inc();
    // As Envoy tells what we broke off ourselves.
    if (reason === "response timeout") this.record.details = replies.responseTimeout.details;
    else this.record.details = `upstream_reset_after_response_started{${reason.replaceAll(" ", "_")}}`;
    this.#cut();
  }

  onDownstreamWritable(): void {
    this.movedAt = now();
    this.paces?.caughtUp(this);
    this.#forward?.onDownstreamWritable();
  }

  /** The client's connection is gone, or as flag ("": none) and details say its stream; nothing can be sent any more. */
  onDownstreamReset(flag = "DC", details = "downstream_remote_disconnect"): void {
    if (this.#ended) return;
    // A tunnel whose ends both closed is complete.
    if (!(this.upgraded && this.#responseDone)) {
      if (flag !== "") this.addFlag(flag);
      this.record.details = details;
      this.listener.stats.downstream_rq_rx_reset.inc();
    }
    this.#finish();
  }

  onResponseOverdue(): void {
    this.#forward?.onResponseOverdue();
  }

  #cut(): void {
    this.#downstream.flush();
    this.#finish();
    this.#downstream.cut();
  }

  #finish(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#forward?.abort();
    this.#forward = undefined;
    this.#chain?.destroy();
    this.record.bytesSent = this.#downstream.sentBytes;
    reportEnd(this);
  }
}

/** As in Envoy: for every method but those whose requests have no body by their nature. */
const expectsBody = (method: string): boolean =>
  method !== "GET" && method !== "HEAD" && method !== "DELETE" && method !== "TRACE";
