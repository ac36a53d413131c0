import { performance } from "node:perf_hooks";

import type { Endpoint } from "../cluster/cluster.ts";
import type { Stream } from "../filters/stream.ts";
import type { ResponseMessage } from "../http1/response-head.ts";
import { Timer, type TimerOwner, timers } from "../listen/timers.ts";
import type { MirrorPolicy } from "../route/mirror.ts";
import type { ForwardAction } from "../route/route.ts";
import { type ClusterContext, findCluster } from "./cluster-context.ts";
import { requestText } from "./outgoing-head.ts";
import { poolOf } from "./pools.ts";
import type { ResponseReceiver } from "./response-receiver.ts";
import type { UpstreamRequest } from "./upstream-request.ts";
import type { Carrier, Pool, PoolUser } from "./waiting-pool.ts";

/** What a copy may be behind with its body before it is given up: the request itself waits for nobody. */
const BEHIND_BYTES_MAX = 1_048_576;
/** How long a copy may take where its route has no limit. */
const DURATION_MS_MAX = 300_000;

/** A request together with its copies: whatever happens to them, the request goes on. Without a copy, the request itself. */
export function withMirrors(request: UpstreamRequest, stream: Stream, action: ForwardAction): UpstreamRequest {
  if (action.mirrors === undefined || stream.upgrade !== "") return request;
  const copies = action.mirrors.flatMap((policy) => copyOf(stream, action, policy) ?? []);
  return copies.length === 0 ? request : new MirroredRequest(request, copies);
}

function copyOf(stream: Stream, action: ForwardAction, policy: MirrorPolicy): Mirror | undefined {
  if (policy.fraction < 1 && Math.random() >= policy.fraction) return undefined;
  const name = policy.cluster(stream.head);
  const cluster = name === undefined ? undefined : findCluster(stream.listener.runtime, name);
  return cluster && new Mirror(stream, cluster, policy, action.timeoutMs || DURATION_MS_MAX);
}

class MirroredRequest implements UpstreamRequest {
  readonly #request: UpstreamRequest;
  readonly #copies: readonly Mirror[];

  constructor(request: UpstreamRequest, copies: readonly Mirror[]) {
    this.#request = request;
    this.#copies = copies;
  }

  start(): void {
    // Before the request, whose answer may end the stream at once.
    for (const copy of this.#copies) copy.start();
    this.#request.start();
  }

  onRequestData(piece: Buffer): void {
    for (const copy of this.#copies) copy.onRequestData(piece);
    this.#request.onRequestData(piece);
  }

  onRequestEnd(): void {
    for (const copy of this.#copies) copy.onRequestEnd();
    this.#request.onRequestEnd();
  }

  onDownstreamWritable(): void {
    this.#request.onDownstreamWritable();
  }

  flushRequest(): void {
    for (const copy of this.#copies) copy.flush();
    this.#request.flushRequest();
  }

  onResponseOverdue(): void {
    this.#request.onResponseOverdue();
  }

  abort(): void {
    for (const copy of this.#copies) copy.onStreamEnd();
    this.#request.abort();
  }
}

/** The copy of a request: sent once, to one endpoint; nobody waits for its response, which is read and forgotten. */
class Mirror implements PoolUser, ResponseReceiver, TimerOwner {
  readonly wantedUpgrade = "";

  readonly #stream: Stream;
  readonly #cluster: ClusterContext;
  readonly #host: string;
  readonly #startedAt = performance.now();
  readonly #timer: Timer = new Timer(this, 0);
  readonly #limitMs: number;
  #endpoint: Endpoint | undefined = undefined;
  #pool: Pool | undefined = undefined;
  #carrier: Carrier | undefined = undefined;
  /** The body so far, until there is a connection. */
  #pieces: Buffer[] = [];
  /** Bytes that wait for a connection, or that it can't take now. */
  #behindBytes = 0;
  #blocked = false;
  #complete = false;
  /** Whether the codec is still handing over what it has just read; it flushes by itself. */
  #starting = true;
  #ended = false;

  constructor(stream: Stream, cluster: ClusterContext, { marksHost }: MirrorPolicy, limitMs: number) {
    this.#stream = stream;
    this.#cluster = cluster;
    this.#limitMs = limitMs;
    const { authority } = stream.head;
    this.#host = marksHost ? shadowHost(authority) : authority;
  }

  start(): void {
    const { cluster, load, breakers, stats } = this.#cluster;
    const { head, record } = this.#stream;
    if (load.requests >= breakers.maxRequests) {
      stats.upstream_rq_pending_overflow.inc();
      this.#ended = true;
      return;
    }
    const endpoint = cluster.pick(undefined);
    if (endpoint === undefined) {
      stats.upstream_cx_none_healthy.inc();
      this.#ended = true;
      return;
    }
    load.requests++;
    stats.upstream_rq_active.inc();
    stats.upstream_rq_total.inc();
    this.#endpoint = endpoint;
    endpoint.activeRequests++;
    timers.schedule(this.#timer, this.#limitMs);
    this.#pool = poolOf(this.#cluster, endpoint, record.protocol === "HTTP/2", head.authority);
    this.#pool.acquire(this);
    this.#starting = false;
  }

  onConnection(carrier: Carrier): void {
    this.#carrier = carrier;
    const { head, requestFraming } = this.#stream;
    const { method, scheme, path, headers } = head;
    if (carrier.isHttp2)
      carrier.sendRequest(this, { method, scheme, authority: this.#host, path, headers, upgrade: "" });
    else carrier.send(this, method, requestText(head, this.#host, ""), requestFraming, "");
    if (this.#carrier !== carrier) return;
    const pieces = this.#pieces;
    this.#pieces = [];
    this.#behindBytes = 0;
    for (const piece of pieces) this.#send(carrier, piece);
    if (this.#complete) carrier.sendEnd(this.#stream.requestTrailers);
    if (!this.#starting) carrier.flush();
  }

  onRequestData(piece: Buffer): void {
    if (this.#ended) return;
    if (this.#carrier === undefined) {
      this.#pieces.push(piece);
      this.#fallBehind(piece.length);
    } else this.#send(this.#carrier, piece);
  }

  onRequestEnd(): void {
    this.#complete = true;
    if (!this.#ended) this.#carrier?.sendEnd(this.#stream.requestTrailers);
  }

  flush(): void {
    if (!this.#ended) this.#carrier?.flush();
  }

  /** The request is over. Its copy goes on by itself, unless it would never be complete. */
  onStreamEnd(): void {
    if (!this.#complete) this.#cancel();
  }

  onPoolFailure(): void {
    this.#end();
  }

  onInformational(): void {}

  onResponseHead({ status }: ResponseMessage, end: boolean): void {
    const { stats, byClass } = this.#cluster;
    stats.upstream_rq_completed.inc();
    stats.status(status);
    byClass[Math.floor(status / 100)]?.inc();
    if (end) this.onResponseEnd();
  }

  onResponseData(): void {}

  onResponseEnd(): void {
    // The connection has gone back to the pool by itself.
    this.#carrier = undefined;
    this.#end();
  }

  onUpstreamWritable(): void {
    this.#blocked = false;
    this.#behindBytes = 0;
  }

  onUpstreamReset(): void {
    this.#carrier = undefined;
    this.#cluster.stats.upstream_rq_rx_reset.inc();
    this.#end();
  }

  onTimer(): void {
    this.#cluster.stats.upstream_rq_timeout.inc();
    this.#end();
  }

  #send(carrier: Carrier, piece: Buffer): void {
    if (!carrier.sendData(piece)) this.#blocked = true;
    if (this.#blocked) this.#fallBehind(piece.length);
  }

  #fallBehind(bytes: number): void {
    this.#behindBytes += bytes;
    if (this.#behindBytes > BEHIND_BYTES_MAX) this.#cancel();
  }

  #cancel(): void {
    if (this.#ended) return;
    this.#cluster.stats.upstream_rq_cancelled.inc();
    this.#end();
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    timers.cancel(this.#timer);
    const { load, stats } = this.#cluster;
    load.requests--;
    stats.upstream_rq_active.dec();
    stats.upstream_rq_time.record(performance.now() - this.#startedAt);
    if (this.#endpoint !== undefined) this.#endpoint.activeRequests--;
    this.#pool?.cancel(this);
    this.#pieces = [];
    const carrier = this.#carrier;
    this.#carrier = undefined;
    carrier?.abandon();
  }
}

/** As Envoy marks copies (shadow_writer_impl.cc); "[::1]:80" has its colons inside of the brackets. */
function shadowHost(authority: string): string {
  const port = /:\d+$/.exec(authority);
  return port === null ? `${authority}-shadow` : `${authority.slice(0, port.index)}-shadow${port[0]}`;
}
