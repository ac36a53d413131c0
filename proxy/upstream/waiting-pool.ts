import type { Endpoint } from "../cluster/cluster.ts";
import { Timer, timers } from "../listen/timers.ts";
import type { ResetReason } from "../reply.ts";
import type { ClusterContext } from "./cluster-context.ts";
import type { ClientConnection } from "./connection.ts";
import type { Http2ClientStream } from "./http2-stream.ts";

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
export abstract class WaitingPool implements Pool {
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

  abstract acquire(user: PoolUser): void;

  /** Closes the connections that serve no request. */
  abstract closeIdle(): void;

  /** Begins to connect. */
  protected abstract connect(): void;

  /** How many of those who wait one new connection can serve. */
  protected abstract get requestsPerConnection(): number;

  /** Lets the user wait, within the breaker's bound. */
  protected enqueue(user: PoolUser): void {
    const { cluster, stats } = this.cluster;
    if (cluster.load.pending >= cluster.settings.breakers.maxPendingRequests) {
      stats.upstream_rq_pending_overflow.inc();
      return user.onPoolFailure("overflow", "");
    }
    cluster.load.pending++;
    stats.upstream_rq_pending_total.inc();
    stats.upstream_rq_pending_active.inc();
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

  /**
   * Fails as many as the connection would have served; the others may still get a connection, or the failure of theirs. Where not all who wait have one, all
   * fail, as in Envoy: they would wait for one failure after the other.
   */
  onConnectFailed(reason: ResetReason, transportFailure: string): void {
    const failing = this.connecting >= CONNECTING_MAX ? this.waiting.length : this.requestsPerConnection;
    this.connecting--;
    this.cluster.stats.upstream_cx_connect_fail.inc();
    for (const user of this.waiting.splice(0, failing)) {
      this.#unwait();
      this.cluster.stats.upstream_rq_pending_failure_eject.inc();
      user.onPoolFailure(reason, transportFailure);
    }
  }

  /** A connection is gone. */
  onClosed(_connection: unknown): void {
    this.handOver();
    this.cluster.stats.upstream_cx_destroy.inc();
    this.connectIfNeeded();
  }

  /** A connection is no longer counted here. */
  protected handOver(): void {
    this.#open--;
    this.cluster.cluster.load.connections--;
    this.cluster.stats.upstream_cx_active.dec();
    if (this.#open === 0) pools.delete(this);
  }

  /** A connection, which connects yet, is counted here from now on. */
  protected takeOver(): void {
    this.#open++;
    this.connecting++;
    this.cluster.cluster.load.connections++;
    this.cluster.stats.upstream_cx_active.inc();
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
    const { cluster, stats } = this.cluster;
    // A pool without any connection may open one whatever the limit, or its requests would wait for nothing (as in Envoy).
    if (cluster.load.connections >= cluster.settings.breakers.maxConnections && this.#open > 0) {
      stats.upstream_cx_overflow.inc();
      return;
    }
    stats.upstream_cx_total.inc();
    this.takeOver();
    this.connect();
  }

  #unwait(): void {
    this.cluster.cluster.load.pending--;
    this.cluster.stats.upstream_rq_pending_active.dec();
  }
}

/** Pools of this worker that have connections. */
const pools = new Set<WaitingPool>();
const SWEEP_MS = 1_000;

/** Endpoints leave without a word; their idle connections are closed by the next sweep. */
const sweep = new Timer(
  {
    onTimer() {
      for (const pool of pools) if (!pool.endpoint.alive) pool.closeIdle();
      if (pools.size > 0) timers.schedule(sweep, SWEEP_MS);
    },
  },
  0,
);
