import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";

import type { Endpoint } from "../cluster/cluster.ts";
import type { ClusterContext } from "./cluster-context.ts";
import { ClientConnection } from "./connection.ts";
import type { Dial } from "./dial.ts";
import { CONNECTING_MAX, type PoolUser, WaitingPool } from "./waiting-pool.ts";

const HTTP1_ONLY = ["http/1.1"];
const BOTH = ["h2", "http/1.1"];

/** The HTTP/1 connections of this worker to one endpoint. */
export class EndpointPool extends WaitingPool {
  /** Takes a connection whose endpoint chose HTTP/2 by ALPN; undefined: it isn't offered. */
  readonly #onHttp2: ((socket: Socket, dial: Dial) => void) | undefined;
  /** The last one used is used next, so that those not needed grow old and close. */
  readonly #idle: ClientConnection[] = [];

  constructor(
    cluster: ClusterContext,
    endpoint: Endpoint,
    serverName: string,
    onHttp2?: (socket: Socket, dial: Dial) => void,
  ) {
    super(cluster, endpoint, serverName);
    this.#onHttp2 = onHttp2;
  }

  acquire(user: PoolUser): void {
    let connection: ClientConnection | undefined;
    while ((connection = this.#idle.pop()) !== undefined) {
      if (connection.usable) return user.onConnection(connection);
      connection.destroy();
    }
    this.enqueue(user);
  }

  /** Goes on with a connection on which HTTP/1.1 was agreed. */
  adopt(socket: Socket, dial: Dial): void {
    this.takeOver();
    this.connecting--;
    this.release(new ClientConnection(this, socket, dial));
  }

  onDialled(socket: Socket, dial: Dial): void {
    const heldBack = this.connecting >= CONNECTING_MAX;
    this.connecting--;
    if (this.#onHttp2 === undefined || (socket as TLSSocket).alpnProtocol !== "h2") {
      this.release(new ClientConnection(this, socket, dial));
      if (heldBack) this.connectIfNeeded();
      return;
    }
    // The endpoint chose HTTP/2: the connection is no longer ours.
    this.handOver();
    this.#onHttp2(socket, dial);
  }

  /** A connection is free: the one who waited longest gets it. */
  release(connection: ClientConnection): void {
    const { settings } = this.cluster.cluster;
    if (settings.maxRequestsPerConnection > 0 && connection.requests >= settings.maxRequestsPerConnection) {
      this.cluster.stats.upstream_cx_max_requests.inc();
      connection.destroy();
      return;
    }
    if (connection.tooOld) {
      this.cluster.stats.upstream_cx_max_duration_reached.inc();
      connection.destroy();
      return;
    }
    const user = this.dequeue();
    if (user !== undefined) return user.onConnection(connection);
    this.#idle.push(connection);
    connection.onIdle();
  }

  /** A connection is gone. */
  onClosed(connection: ClientConnection): void {
    const at = this.#idle.indexOf(connection);
    if (at >= 0) this.#idle.splice(at, 1);
    this.discount();
  }

  closeIdle(): void {
    for (const connection of this.#idle.splice(0)) connection.destroy();
  }

  closeStale(): void {
    for (let at = this.#idle.length - 1; at >= 0; at--) {
      const connection = this.#idle[at];
      if (connection === undefined || connection.usable) continue;
      if (connection.tooOld) this.cluster.stats.upstream_cx_max_duration_reached.inc();
      this.#idle.splice(at, 1);
      connection.destroy();
    }
  }

  protected get requestsPerConnection(): number {
    return 1;
  }

  protected connect(): void {
    this.dial(this.#onHttp2 === undefined ? HTTP1_ONLY : BOTH, { onRead: () => {} });
  }
}
