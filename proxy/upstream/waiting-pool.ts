import type { Socket } from "node:net";
import { performance } from "node:perf_hooks";

import { type Endpoint, tlsOf } from "../cluster/cluster.ts";
import { Timer, timers } from "../listen/timers.ts";
import type { ResetReason } from "../reply.ts";
import type { ClusterContext } from "./cluster-context.ts";
import type { ClientConnection } from "./connection.ts";
import { Dial, type Dialler } from "./dial.ts";
import type { Http2ClientStream } from "./http2-stream.ts";
import type { SocketReader } from "./open-socket.ts";
import { clientTls } from "./tls.ts";

/** What carries one request: an HTTP/1 connection, or a stream of an HTTP/2 one. */
export type Carrier = ClientConnection | Http2ClientStream;

/** Who waits for something to send a request on. One of the two is called, once, perhaps before acquire() returns. */
export interface PoolUser {
  /** The upgrade that will be asked for, "" if none. */
  readonly wantedUpgrade: string;
  onConnection(connection: Carrier): void;
  onPoolFailure(reason: ResetReason, transportFailure: string): void;
}

/** What a request asks for a connection. */
export interface Pool {
  acquire(user: PoolUser): void;
  /** The user waits no longer. */
  cancel(user: PoolUser): void;
}

/**
 * Connections that a pool opens at the same time at most. Whatever comes in one go is dialled in one go, while an endpoint takes connections one by one
 * from a queue that often has room for 511 (nginx, Node) or 128; what overflows it counts as connected for us, and loses what it sent for a second or
 * more. Those who wait are served by whichever connection is ready or free first.
 */
export const CONNECTING_MAX = 256;

/** What pools of both protocols share: the queue of those who wait, the breakers that bound it, and the count of connections. */
export abstract class WaitingPool implements Pool, Dialler {
  readonly cluster: ClusterContext;
  readonly endpoint: Endpoint;
  /** The name that TLS connections ask for and expect, "" for the one that is configured. */
  readonly serverName: string;
  protected readonly waiting: PoolUser[] = [];
  protected connecting = 0;
  #open = 0;

  constructor(cluster: ClusterContext, endpoint: Endpoint, serverName: string) {
    this.cluster = cluster;
    this.endpoint = endpoint;
    this.serverName = serverName;
  }

  get isEmpty(): boolean {
    return this.#open === 0 && this.waiting.length === 0;
  }

  /** Whether anybody waits for a connection. */
  get isAwaited(): boolean {
    return this.waiting.length > 0;
  }

  abstract acquire(user: PoolUser): void;

  /** Closes the connections that serve no request. */
  abstract closeIdle(): void;

  /** Closes those of them that will never serve one again: they are too old, or were opened with other settings or secrets than those of now. */
  abstract closeStale(): void;

  /** Begins to connect, by dial(). */
  protected abstract connect(): void;

  /** There is a connection; it is counted already, as one that connects. */
  abstract onDialled(socket: Socket, dial: Dial): void;

  /** How many of those who wait one new connection can serve. */
  protected abstract get requestsPerConnection(): number;

  /** Lets the user wait, within the breaker's bound. */
  protected enqueue(user: PoolUser): void {
    const { load, breakers, stats, isHigh } = this.cluster;
    if (load.pending >= breakers.maxPendingRequests) {
      stats.upstream_rq_pending_overflow.inc();
      return user.onPoolFailure("overflow", "");
    }
    load.pending++;
    stats.upstream_rq_pending_total.inc();
    stats.upstream_rq_pending_active.inc();
    if (isHigh) stats["high.rq_pending_active"].inc();
    this.waiting.push(user);
    this.connectIfNeeded();
  }

  cancel(user: PoolUser): void {
    const at = this.waiting.indexOf(user);
    if (at < 0) return;
    this.waiting.splice(at, 1);
    this.#unwait();
  }

  /** The one who waited longest. */
  protected dequeue(): PoolUser | undefined {
    const user = this.waiting.shift();
    if (user !== undefined) this.#unwait();
    return user;
  }

  protected dial(alpn: readonly string[], reader?: SocketReader): void {
    const { cluster, endpoint, serverName } = this;
    const { settings } = cluster.cluster;
    const { tcpKeepaliveMs, connectTimeoutMs } = settings;
    const tls = tlsOf(settings, endpoint);
    const secrets = tls && clientTls(cluster, tls);
    new Dial({ endpoint, serverName, tls: secrets, alpn, reader, keepaliveMs: tcpKeepaliveMs, connectTimeoutMs }, this);
  }

  /**
   * Fails as many as the connection would have served; the others may still get a connection, or the failure of theirs. Where not all who wait have one, all
   * fail, as in Envoy: they would wait for one failure after the other.
   */
  onDialFailed(reason: ResetReason, transportFailure: string, { startedAt }: Dial): void {
    const { stats } = this.cluster;
    const failing = this.connecting >= CONNECTING_MAX ? this.waiting.length : this.requestsPerConnection;
    this.connecting--;
    stats.upstream_cx_connect_fail.inc();
    if (reason === "connection timeout") stats.upstream_cx_connect_timeout.inc();
    stats.upstream_cx_length_ms.record(performance.now() - startedAt);
    for (const user of this.waiting.splice(0, failing)) {
      this.#unwait();
      stats.upstream_rq_pending_failure_eject.inc();
      user.onPoolFailure(reason, transportFailure);
    }
    this.discount();
  }

  /** A connection is gone. */
  protected discount(): void {
    this.handOver();
    this.cluster.stats.upstream_cx_destroy.inc();
    this.connectIfNeeded();
  }

  /** A connection is no longer counted here. */
  protected handOver(): void {
    this.#open--;
    const { load, stats, isHigh } = this.cluster;
    load.connections--;
    stats.upstream_cx_active.dec();
    if (isHigh) stats["high.cx_active"].dec();
    if (this.#open === 0) pools.delete(this);
  }

  /** A connection, which connects yet, is counted here from now on. */
  protected takeOver(): void {
    this.#open++;
    this.connecting++;
    const { load, stats, isHigh } = this.cluster;
    load.connections++;
    stats.upstream_cx_active.inc();
    if (isHigh) stats["high.cx_active"].inc();
    pools.add(this);
    if (sweep.tick < 0) timers.schedule(sweep, SWEEP_MS);
  }

  /** Those who wait, who no longer do so here. */
  takeWaiting(): PoolUser[] {
    const users: PoolUser[] = [];
    for (let user = this.dequeue(); user !== undefined; user = this.dequeue()) users.push(user);
    return users;
  }

  protected connectIfNeeded(): void {
    if (this.waiting.length <= this.connecting * this.requestsPerConnection || this.connecting >= CONNECTING_MAX)
      return;
    const { load, breakers, stats } = this.cluster;
    // A pool without any connection may open one whatever the limit, or its requests would wait for nothing (as in Envoy).
    if (load.connections >= breakers.maxConnections && this.#open > 0) {
      stats.upstream_cx_overflow.inc();
      return;
    }
    stats.upstream_cx_total.inc();
    this.takeOver();
    this.connect();
  }

  #unwait(): void {
    const { load, stats, isHigh } = this.cluster;
    load.pending--;
    stats.upstream_rq_pending_active.dec();
    if (isHigh) stats["high.rq_pending_active"].dec();
  }
}

/** Pools of this worker that have connections. */
const pools = new Set<WaitingPool>();
const SWEEP_MS = 1_000;

/** Endpoints leave, and secrets change, without a word; idle connections that this leaves behind are closed by the next sweep. */
const sweep = new Timer(
  {
    onTimer() {
      for (const pool of pools) {
        if (pool.endpoint.alive) pool.closeStale();
        else pool.closeIdle();
      }
      if (pools.size > 0) timers.schedule(sweep, SWEEP_MS);
    },
  },
  0,
);
