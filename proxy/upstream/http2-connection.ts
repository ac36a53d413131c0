import {
  type ClientHttp2Session,
  connect,
  constants,
  type SecureClientSessionOptions,
  type Settings,
} from "node:http2";
import type { Socket } from "node:net";
import { performance } from "node:perf_hooks";

import { tlsOf } from "../cluster/cluster.ts";
import { Timer, type TimerOwner, timers } from "../listen/timers.ts";
import type { ResetReason } from "../reply.ts";
import type { Dial } from "./dial.ts";
import { RESPONSE_FIELDS_MAX, RESPONSE_HEAD_BYTES_MAX } from "./http2-fields.ts";
import type { Http2Pool } from "./http2-pool.ts";
import { Http2ClientStream, isBrokenProtocol } from "./http2-stream.ts";
import type { ClientTls } from "./tls.ts";
import type { PoolUser } from "./waiting-pool.ts";

const ON_IDLE = 0;
const ON_MAX_DURATION = 1;
const ON_PING = 2;
const ON_PING_TIMEOUT = 3;

/** What Node may hold for one connection; above, it refuses new streams. */
const SESSION_MEMORY_MB = 64;
/** Frames that make no sense (empty DATA among them), after which a connection is given up. */
const INVALID_FRAMES_MAX = 100;

/** Options of Node 24 that its types don't have yet. */
interface UntypedOptions {
  readonly maxSessionInvalidFrames: number;
  readonly strictSingleValueFields: boolean;
}

/** One HTTP/2 connection to an endpoint, which carries as many requests as both sides allow. */
export class Http2Connection implements TimerOwner {
  readonly pool: Http2Pool;
  /** Local "address:port". */
  readonly localAddress: string;
  /** Requests sent so far. */
  requests = 0;
  /** Why it ended, once it did. */
  ended: ResetReason | undefined = undefined;
  /** Whether the endpoint has said by GOAWAY that it takes no more. */
  goneAway = false;

  readonly #tls: ClientTls | undefined;
  readonly #socket: Socket;
  readonly #openedAt: number;
  readonly #streams = new Set<Http2ClientStream>();
  readonly #idleTimer = new Timer(this, ON_IDLE);
  readonly #durationTimer = new Timer(this, ON_MAX_DURATION);
  readonly #pingTimer = new Timer(this, ON_PING);
  readonly #pingTimeout = new Timer(this, ON_PING_TIMEOUT);
  readonly #session: ClientHttp2Session;
  /** What the endpoint allows, once it has said so. */
  #remote: Settings | undefined = undefined;
  /** Upgrades that wait for the endpoint's SETTINGS. */
  #upgrades: PoolUser[] = [];
  #draining = false;

  constructor(pool: Http2Pool, socket: Socket, { options, startedAt }: Dial) {
    this.pool = pool;
    this.#tls = options.tls;
    this.#socket = socket;
    this.#openedAt = startedAt;
    this.localAddress = `${socket.localAddress}:${socket.localPort}`;
    // Before the session's own listeners, which close its streams.
    socket.on("error", () => {}).on("close", () => this.#onClose());
    const { stats, cluster } = pool.cluster;
    stats.upstream_cx_connect_ms.record(performance.now() - startedAt);
    stats.upstream_cx_http2_total.inc();
    this.#session = this.#startSession();
    const { maxConnectionDurationMs, http2 } = cluster.settings;
    if (maxConnectionDurationMs > 0) timers.schedule(this.#durationTimer, maxConnectionDurationMs);
    if (http2.keepalive !== undefined && http2.keepalive.intervalMs > 0) {
      timers.schedule(this.#pingTimer, http2.keepalive.intervalMs);
    }
    this.#awaitUse();
  }

  /** Whether it can carry another request now. */
  get takesRequest(): boolean {
    if (this.#draining) return false;
    const { endpoint, cluster } = this.pool;
    const { settings } = cluster.cluster;
    const current = tlsOf(settings, endpoint) === this.#tls?.settings && (this.#tls === undefined || this.#tls.current);
    if (!endpoint.alive || !current) {
      this.drain();
      return false;
    }
    const allowed = this.#remote?.maxConcurrentStreams ?? Number.POSITIVE_INFINITY;
    return this.#streams.size + this.#upgrades.length < Math.min(settings.http2.maxConcurrentStreams, allowed);
  }

  /** Gives the user a stream of this connection. */
  carry(user: PoolUser): void {
    if (user.wantedUpgrade !== "") {
      if (this.#remote === undefined) return void this.#upgrades.push(user);
      // RFC 8441, 3: without the endpoint's word no extended CONNECT may be sent.
      if (this.#remote.enableConnectProtocol !== true) return user.onPoolFailure("protocol error", "");
    }
    timers.cancel(this.#idleTimer);
    this.requests++;
    const stream = new Http2ClientStream(this, this.requests > 1);
    this.#streams.add(stream);
    const { maxRequestsPerConnection } = this.pool.cluster.cluster.settings;
    if (maxRequestsPerConnection > 0 && this.requests >= maxRequestsPerConnection) {
      this.pool.cluster.stats.upstream_cx_max_requests.inc();
      this.#stopTaking();
    }
    user.onConnection(stream);
  }

  /** The user no longer waits for what the endpoint says of upgrades. */
  cancelUpgrade(user: PoolUser): void {
    const at = this.#upgrades.indexOf(user);
    if (at >= 0) this.#upgrades.splice(at, 1);
  }

  /** The session, to open a stream of it; undefined: it is gone. */
  get session(): ClientHttp2Session | undefined {
    return this.#session.destroyed || this.#session.closed ? undefined : this.#session;
  }

  /** A stream of it has ended. */
  onStreamClosed(stream: Http2ClientStream): void {
    if (!this.#streams.delete(stream) || this.ended !== undefined) return;
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
    this.pool.cluster.stats.upstream_cx_protocol_error.inc();
    this.ended ??= "protocol error";
    this.#socket.destroy();
  }

  #startSession(): ClientHttp2Session {
    const { http2 } = this.pool.cluster.cluster.settings;
    const options: SecureClientSessionOptions & UntypedOptions = {
      createConnection: () => this.#socket,
      settings: {
        enablePush: false,
        headerTableSize: http2.hpackTableSize,
        initialWindowSize: http2.initialStreamWindowSize,
        maxHeaderListSize: RESPONSE_HEAD_BYTES_MAX,
      },
      // Ours count their streams themselves; Node would queue what is above without a word.
      peerMaxConcurrentStreams: http2.maxConcurrentStreams,
      // Pseudo-fields come on top.
      maxHeaderListPairs: RESPONSE_FIELDS_MAX + 1,
      maxSessionMemory: SESSION_MEMORY_MB,
      maxSessionInvalidFrames: INVALID_FRAMES_MAX,
      // Whether a field may come twice is between client and upstream.
      strictSingleValueFields: false,
    };
    const session = connect("http://upstream", options);
    session.setLocalWindowSize(http2.initialConnectionWindowSize);
    return (
      session
        .on("error", (error: NodeJS.ErrnoException) => {
          if (isBrokenProtocol(error.code)) this.fail();
          else this.#socket.destroy();
        })
        .on("goaway", () => {
          this.goneAway = true;
          this.pool.cluster.stats.upstream_cx_close_notify.inc();
          this.#stopTaking();
        })
        // Pushed, which our SETTINGS forbid.
        .on("stream", () => this.fail())
        .on("remoteSettings", (settings) => this.#onRemoteSettings(settings))
        .on("close", () => this.#socket.destroy())
    );
  }

  #onRemoteSettings(settings: Settings): void {
    this.#remote = settings;
    for (const user of this.#upgrades.splice(0)) this.carry(user);
    if (this.takesRequest) this.pool.onCapacity(this);
  }

  #stopTaking(): void {
    if (this.#draining) return;
    this.#draining = true;
    this.pool.onDraining(this);
  }

  #endIfFree(): void {
    if (this.#streams.size > 0 || this.#upgrades.length > 0) return;
    this.ended ??= "connection termination";
    // GOAWAY, then the end.
    this.#session.close();
  }

  #awaitUse(): void {
    const { idleTimeoutMs } = this.pool.cluster.cluster.settings;
    if (idleTimeoutMs > 0 && this.#streams.size === 0) timers.schedule(this.#idleTimer, idleTimeoutMs);
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
        this.#socket.destroy();
    }
  }

  #ping(timeoutMs: number): void {
    const session = this.session;
    // It is destroyed before it tells so.
    if (session === undefined || session.destroyed || timeoutMs === 0) return;
    timers.schedule(this.#pingTimeout, timeoutMs);
    session.ping((error) => {
      timers.cancel(this.#pingTimeout);
      const intervalMs = this.pool.cluster.cluster.settings.http2.keepalive?.intervalMs ?? 0;
      if (error === null && intervalMs > 0) timers.schedule(this.#pingTimer, intervalMs);
    });
  }

  #onClose(): void {
    for (const timer of [this.#idleTimer, this.#durationTimer, this.#pingTimer, this.#pingTimeout])
      timers.cancel(timer);
    const { stats } = this.pool.cluster;
    this.ended ??= "connection termination";
    this.#draining = true;
    stats.upstream_cx_tx_bytes_total.inc(this.#socket.bytesWritten);
    stats.upstream_cx_rx_bytes_total.inc(this.#socket.bytesRead);
    stats.upstream_cx_length_ms.record(performance.now() - this.#openedAt);
    for (const stream of [...this.#streams]) stream.onConnectionEnded(this.ended);
    for (const user of this.#upgrades.splice(0)) user.onPoolFailure("remote connection failure", "");
    this.#session.destroy(undefined, constants.NGHTTP2_NO_ERROR);
    this.pool.onClosed(this);
  }
}
