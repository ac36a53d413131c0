import type { Endpoint } from "../cluster/cluster.ts";
import { Timer, timers } from "../listen/timers.ts";
import type { ResetReason } from "../reply.ts";
import type { ClusterContext } from "./cluster-context.ts";
import { ClientConnection } from "./connection.ts";

/** Who waits for a connection. One of the two is called, once, perhaps before acquire() returns. */
export interface PoolUser {
  onConnection(connection: ClientConnection): void;
  onPoolFailure(reason: ResetReason, transportFailure: string): void;
}

/** The connections of this worker to one endpoint; kept in Endpoint.pool. */
export class EndpointPool {
  readonly cluster: ClusterContext;
  readonly endpoint: Endpoint;
  /** The last one used is used next, so that those not needed grow old and close. */
  readonly #idle: ClientConnection[] = [];
  readonly #waiting: PoolUser[] = [];
  #open = 0;
  #connecting = 0;

  constructor(cluster: ClusterContext, endpoint: Endpoint) {
    this.cluster = cluster;
    this.endpoint = endpoint;
  }

  /** The endpoint's pool, made when first asked for. */
  static of(cluster: ClusterContext, endpoint: Endpoint): EndpointPool {
    endpoint.pool ??= new EndpointPool(cluster, endpoint);
    return endpoint.pool as EndpointPool;
  }

  get isEmpty(): boolean {
    return this.#open === 0;
  }

  acquire(user: PoolUser): void {
    let connection: ClientConnection | undefined;
    while ((connection = this.#idle.pop()) !== undefined) {
      if (connection.usable) return user.onConnection(connection);
      connection.destroy();
    }
    const { cluster, stats } = this.cluster;
    if (cluster.load.pending >= cluster.settings.breakers.maxPendingRequests) {
      stats.upstream_rq_pending_overflow.inc();
      return user.onPoolFailure("overflow", "");
    }
    cluster.load.pending++;
    stats.upstream_rq_pending_total.inc();
    stats.upstream_rq_pending_active.inc();
    this.#waiting.push(user);
    this.#connectIfNeeded();
  }

  /** The user waits no longer. */
  cancel(user: PoolUser): void {
    const at = this.#waiting.indexOf(user);
    if (at < 0) return;
    this.#waiting.splice(at, 1);
    this.#unwait();
  }

  onConnected(connection: ClientConnection): void {
    this.#connecting--;
    this.release(connection);
  }

  /** A connection is free: the one who waited longest gets it. */
  release(connection: ClientConnection): void {
    const { settings } = this.cluster.cluster;
    if (settings.maxRequestsPerConnection > 0 && connection.requests >= settings.maxRequestsPerConnection) {
      this.cluster.stats.upstream_cx_max_requests.inc();
      connection.destroy();
      return;
    }
    const user = this.#waiting.shift();
    if (user !== undefined) {
      this.#unwait();
      return user.onConnection(connection);
    }
    this.#idle.push(connection);
    connection.onIdle();
  }

  /** Fails the one who waited longest; the others may still get a connection, or the failure of theirs. */
  onConnectFailed(reason: ResetReason, transportFailure: string): void {
    this.#connecting--;
    this.cluster.stats.upstream_cx_connect_fail.inc();
    const user = this.#waiting.shift();
    if (user === undefined) return;
    this.#unwait();
    this.cluster.stats.upstream_rq_pending_failure_eject.inc();
    user.onPoolFailure(reason, transportFailure);
  }

  onClosed(connection: ClientConnection): void {
    this.#open--;
    this.cluster.cluster.load.connections--;
    this.cluster.stats.upstream_cx_active.dec();
    this.cluster.stats.upstream_cx_destroy.inc();
    const at = this.#idle.indexOf(connection);
    if (at >= 0) this.#idle.splice(at, 1);
    if (this.#open === 0) pools.delete(this);
    this.#connectIfNeeded();
  }

  /** Closes the connections that serve no request. */
  closeIdle(): void {
    for (const connection of this.#idle.splice(0)) connection.destroy();
  }

  #connectIfNeeded(): void {
    if (this.#waiting.length <= this.#connecting) return;
    const { cluster, stats } = this.cluster;
    // A pool without any connection may open one whatever the limit, or its requests would wait for nothing (as in Envoy).
    if (cluster.load.connections >= cluster.settings.breakers.maxConnections && this.#open > 0) {
      stats.upstream_cx_overflow.inc();
      return;
    }
    this.#open++;
    this.#connecting++;
    cluster.load.connections++;
    stats.upstream_cx_total.inc();
    stats.upstream_cx_active.inc();
    watch(this);
    new ClientConnection(this);
  }

  #unwait(): void {
    this.cluster.cluster.load.pending--;
    this.cluster.stats.upstream_rq_pending_active.dec();
  }
}

/** Pools of this worker that have connections. */
const pools = new Set<EndpointPool>();
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

function watch(pool: EndpointPool): void {
  pools.add(pool);
  if (sweep.tick < 0) timers.schedule(sweep, SWEEP_MS);
}
