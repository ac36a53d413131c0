import type { Socket } from "node:net";
import { performance } from "node:perf_hooks";

import { tlsOf } from "../cluster/cluster.ts";
import { codes } from "../http2/frames.ts";
import type { SessionHandler, StreamHandler } from "../http2/handlers.ts";
import { Http2Session } from "../http2/session.ts";
import type { Http2Stream } from "../http2/stream.ts";
import { Timer, type TimerOwner, timers } from "../listen/timers.ts";
import type { ResetReason } from "../reply.ts";
import type { Dial } from "./dial.ts";
import { RESPONSE_FIELDS_MAX, RESPONSE_HEAD_BYTES_MAX } from "./http2-fields.ts";
import type { Http2Pool } from "./http2-pool.ts";
import { Http2ClientStream } from "./http2-stream.ts";
import type { ClientTls } from "./tls.ts";
import type { PoolUser } from "./waiting-pool.ts";

const ON_IDLE = 0;
const ON_MAX_DURATION = 1;
const ON_PING = 2;
const ON_PING_TIMEOUT = 3;
const ON_UNFINISHED = 4;

/** The only kind of PING that we send to an endpoint. */
const KEEPALIVE = 0;
/** How long a head, or another frame, may take from its first byte to its last: all streams wait for it. */
const UNFINISHED_MS_MAX = 10_000;
/** How long an endpoint may take to read our GOAWAY. */
const DELAYED_CLOSE_TIMEOUT_MS = 1_000;

/** One HTTP/2 connection to an endpoint, which carries as many requests as both sides allow. */
export class Http2Connection implements SessionHandler, TimerOwner {
  readonly pool: Http2Pool;
  /** Local "address:port". */
  readonly localAddress: string;
  /** Requests sent so far. */
  requests = 0;
  /** Why it ended, once it did. */
  ended: ResetReason | undefined = undefined;

  readonly #tls: ClientTls | undefined;
  readonly #socket: Socket;
  readonly #openedAt: number;
  readonly #idleTimer = new Timer(this, ON_IDLE);
  readonly #durationTimer = new Timer(this, ON_MAX_DURATION);
  readonly #pingTimer = new Timer(this, ON_PING);
  readonly #pingTimeout = new Timer(this, ON_PING_TIMEOUT);
  readonly #unfinishedTimer = new Timer(this, ON_UNFINISHED);
  readonly #session: Http2Session;
  /** Upgrades that wait for the endpoint's SETTINGS. */
  #upgrades: PoolUser[] = [];
  #draining = false;

  constructor(pool: Http2Pool, socket: Socket, { options, startedAt }: Dial) {
    this.pool = pool;
    this.#tls = options.tls;
    this.#socket = socket;
    this.#openedAt = startedAt;
    this.localAddress = `${socket.localAddress}:${socket.localPort}`;
    const { stats, cluster } = pool.cluster;
    stats.upstream_cx_connect_ms.record(performance.now() - startedAt);
    stats.upstream_cx_http2_total.inc();
    const { maxConnectionDurationMs, http2 } = cluster.settings;
    const settings = {
      headerTableBytes: http2.hpackTableSize,
      streamWindowBytes: http2.initialStreamWindowSize,
      connectionWindowBytes: http2.initialConnectionWindowSize,
      // An endpoint opens no streams: PUSH_PROMISE is forbidden.
      maxConcurrentStreams: undefined,
      headerListBytes: RESPONSE_HEAD_BYTES_MAX,
      // The status comes on top.
      headerFields: RESPONSE_FIELDS_MAX + 1,
      connectProtocol: false,
    };
    const session = new Http2Session(
      socket,
      {
        isClient: true,
        settings,
        delayedCloseTimeoutMs: DELAYED_CLOSE_TIMEOUT_MS,
        // Requests have their own times, and where there are none everything else of the connection works without.
        settingsTimeoutMs: 0,
        stats: stats.http2(),
      },
      this,
    );
    this.#session = session;
    if (options.reader !== undefined) options.reader.onRead = (bytes, length) => session.receive(bytes, 0, length);
    if (maxConnectionDurationMs > 0) timers.schedule(this.#durationTimer, maxConnectionDurationMs);
    if (http2.keepalive !== undefined && http2.keepalive.intervalMs > 0) {
      timers.schedule(this.#pingTimer, http2.keepalive.intervalMs);
    }
    this.#awaitUse();
  }

  /** Whether it was opened with the settings and secrets of now. */
  get isCurrent(): boolean {
    const { endpoint, cluster } = this.pool;
    const tls = tlsOf(cluster.cluster.settings, endpoint);
    return tls === this.#tls?.settings && (this.#tls === undefined || this.#tls.current);
  }

  /** Whether it can carry another request now. */
  get takesRequest(): boolean {
    if (this.#draining) return false;
    const { endpoint, cluster } = this.pool;
    const { settings } = cluster.cluster;
    const session = this.#session;
    // Those who waited while the endpoint was removed are its last; they would wait for one connection after the other.
    const isOver = !endpoint.alive && !this.pool.isAwaited;
    if (isOver || !this.isCurrent || !session.canOpen) {
      this.drain();
      return false;
    }
    // It reads nothing any more; requests that nobody will see would only add to it.
    if (session.output.overflows) {
      this.#socket.destroy();
      this.#stopTaking();
      return false;
    }
    const { known, maxConcurrentStreams } = session.peer;
    const allowed = Math.min(
      settings.http2.maxConcurrentStreams,
      known ? maxConcurrentStreams : this.pool.streamsAllowed,
    );
    return session.streams + this.#upgrades.length < allowed;
  }

  /** Whether the endpoint is about to tell how many streams there may be. */
  get awaitsSettings(): boolean {
    return !this.#draining && !this.#session.peer.known;
  }

  /** Gives the user a stream of this connection. */
  carry(user: PoolUser): void {
    if (user.wantedUpgrade !== "") {
      const { peer } = this.#session;
      if (!peer.known) return void this.#upgrades.push(user);
      // RFC 8441, 3: without the endpoint's word no extended CONNECT may be sent.
      if (!peer.connectProtocol) return user.onPoolFailure("protocol error", "");
    }
    timers.cancel(this.#idleTimer);
    this.requests++;
    const { maxRequestsPerConnection } = this.pool.cluster.cluster.settings;
    if (maxRequestsPerConnection > 0 && this.requests >= maxRequestsPerConnection) {
      this.pool.cluster.stats.upstream_cx_max_requests.inc();
      this.#stopTaking();
    }
    user.onConnection(new Http2ClientStream(this, this.requests > 1));
  }

  /** The user no longer waits for what the endpoint says of upgrades. */
  cancelUpgrade(user: PoolUser): void {
    const at = this.#upgrades.indexOf(user);
    if (at < 0) return;
    this.#upgrades.splice(at, 1);
    if (this.#draining) this.#endIfFree();
  }

  /** Begins a request, without an end; undefined: the connection has ended since it was chosen. */
  open(fields: readonly string[], handler: StreamHandler, method: string, isTunnel: boolean): Http2Stream | undefined {
    const session = this.#session;
    return session.canOpen ? session.open(fields, false, handler, method === "HEAD", isTunnel) : undefined;
  }

  /** A stream of it has ended, or never was one. */
  onStreamClosed(): void {
    if (this.ended !== undefined) return;
    if (this.#draining) return this.#endIfFree();
    this.#awaitUse();
    this.pool.onCapacity(this);
  }

  /** Takes no further request, and closes once those under way have ended. */
  drain(): void {
    this.#stopTaking();
    this.#endIfFree();
  }

  /** What the endpoint sent cannot be HTTP/2: nothing on this connection is to be trusted. */
  fail(): void {
    this.#session.fail(codes.PROTOCOL_ERROR);
  }

  onRequest(): void {
    throw new Error("a server's streams are no requests");
  }

  onSettings(): void {
    this.pool.streamsAllowed = Math.max(1, this.#session.peer.maxConcurrentStreams);
    for (const user of this.#upgrades.splice(0)) this.carry(user);
    // It may have waited for nobody else.
    if (this.#draining) return this.#endIfFree();
    this.pool.onCapacity(this);
  }

  onGoaway(): void {
    this.pool.cluster.stats.upstream_cx_close_notify.inc();
    this.drain();
  }

  onPong(): void {
    timers.cancel(this.#pingTimeout);
    const intervalMs = this.pool.cluster.cluster.settings.http2.keepalive?.intervalMs ?? 0;
    if (intervalMs > 0) timers.schedule(this.#pingTimer, intervalMs);
  }

  onRefused(): void {}

  /** As in Envoy, a stream on which the endpoint breaks HTTP takes the connection with it, unless that is told otherwise. */
  onStreamError(): void {
    if (this.pool.cluster.cluster.settings.http2.malformedEndsConnection) this.fail();
    else this.pool.cluster.stats.upstream_cx_protocol_error.inc();
  }

  onFailed(): void {
    this.pool.cluster.stats.upstream_cx_protocol_error.inc();
    this.ended ??= "protocol error";
    this.#stopTaking();
    // GOAWAY has been written; nothing more is to be read.
    this.#socket.destroy();
  }

  onUnfinished(): void {
    timers.schedule(this.#unfinishedTimer, UNFINISHED_MS_MAX);
  }

  onClosed(): void {
    const { stats } = this.pool.cluster;
    const times = [this.#idleTimer, this.#durationTimer, this.#pingTimer, this.#pingTimeout, this.#unfinishedTimer];
    for (const timer of times) timers.cancel(timer);
    this.ended ??= "connection termination";
    this.#draining = true;
    stats.upstream_cx_tx_bytes_total.inc(this.#socket.bytesWritten);
    stats.upstream_cx_rx_bytes_total.inc(this.#socket.bytesRead);
    stats.upstream_cx_length_ms.record(performance.now() - this.#openedAt);
    for (const user of this.#upgrades.splice(0)) user.onPoolFailure("remote connection failure", "");
    this.pool.onClosed(this);
  }

  #stopTaking(): void {
    if (this.#draining) return;
    this.#draining = true;
    this.pool.onDraining(this);
  }

  #endIfFree(): void {
    if (this.#session.streams > 0 || this.#upgrades.length > 0) return;
    this.ended ??= "connection termination";
    // GOAWAY, then the end.
    this.#session.close();
  }

  #awaitUse(): void {
    const { idleTimeoutMs } = this.pool.cluster.cluster.settings;
    if (idleTimeoutMs > 0 && this.#session.streams === 0) timers.schedule(this.#idleTimer, idleTimeoutMs);
  }

  onTimer(kind: number): void {
    const { stats, cluster } = this.pool.cluster;
    switch (kind) {
      case ON_IDLE:
        stats.upstream_cx_idle_timeout.inc();
        return this.drain();
      case ON_MAX_DURATION:
        stats.upstream_cx_max_duration_reached.inc();
        return this.drain();
      case ON_PING:
        return this.#ping(cluster.settings.http2.keepalive?.timeoutMs ?? 0);
      case ON_PING_TIMEOUT:
        // Nobody is there any more: requests learn it now rather than by their own times.
        this.#session.stats.keepalive_timeout.inc();
        this.#socket.destroy();
        return;
      case ON_UNFINISHED: {
        const { unfinishedSince } = this.#session;
        if (unfinishedSince < 0) return;
        const left = unfinishedSince + UNFINISHED_MS_MAX - performance.now();
        if (left > 0) timers.schedule(this.#unfinishedTimer, left);
        else this.fail();
      }
    }
  }

  #ping(timeoutMs: number): void {
    if (!this.#session.isOpen || timeoutMs === 0) return;
    timers.schedule(this.#pingTimeout, timeoutMs);
    this.#session.ping(KEEPALIVE);
  }
}
