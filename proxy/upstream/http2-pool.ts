import type { Socket } from "node:net";

import type { Endpoint } from "../cluster/cluster.ts";
import type { ClusterContext } from "./cluster-context.ts";
import { Http2Connection } from "./http2-connection.ts";
import { type PoolUser, WaitingPool } from "./waiting-pool.ts";

/** The HTTP/2 connections of this worker to one endpoint; requests share them. */
export class Http2Pool extends WaitingPool {
  /** Called when the endpoint, offered both by ALPN, chose HTTP/1.1; undefined: only HTTP/2 is offered. */
  readonly onHttp1: (() => void) | undefined;
  readonly #connections: Http2Connection[] = [];

  constructor(cluster: ClusterContext, endpoint: Endpoint, serverName: string, onHttp1?: () => void) {
    super(cluster, endpoint, serverName);
    this.onHttp1 = onHttp1;
  }

  acquire(user: PoolUser): void {
    for (const connection of this.#connections) {
      if (connection.takesRequest) return connection.carry(user);
    }
    this.enqueue(user);
  }

  override cancel(user: PoolUser): void {
    super.cancel(user);
    for (const connection of this.#connections) connection.cancelUpgrade(user);
  }

  /** Goes on with a connection on which HTTP/2 was agreed. */
  adopt(socket: Socket): void {
    this.takeOver();
    new Http2Connection(this, socket);
  }

  onConnected(connection: Http2Connection): void {
    this.connecting--;
    this.#connections.push(connection);
    this.onCapacity(connection);
  }

  /** The endpoint chose HTTP/1.1 for a connection that is closed now. */
  onNegotiatedHttp1(): void {
    this.connecting--;
    this.onHttp1?.();
  }

  /** A connection can take requests, or some again. */
  onCapacity(connection: Http2Connection): void {
    while (this.waiting.length > 0 && connection.takesRequest) {
      const user = this.dequeue();
      if (user !== undefined) connection.carry(user);
    }
    this.connectIfNeeded();
  }

  /** The connection takes no further request; those under way go on. */
  onDraining(connection: Http2Connection): void {
    const at = this.#connections.indexOf(connection);
    if (at >= 0) this.#connections.splice(at, 1);
  }

  override onClosed(connection: Http2Connection): void {
    this.onDraining(connection);
    super.onClosed(connection);
  }

  closeIdle(): void {
    for (const connection of [...this.#connections]) connection.drain();
  }

  protected get requestsPerConnection(): number {
    const { maxRequestsPerConnection, http2 } = this.cluster.cluster.settings;
    return maxRequestsPerConnection > 0
      ? Math.min(maxRequestsPerConnection, http2.maxConcurrentStreams)
      : http2.maxConcurrentStreams;
  }

  protected connect(): void {
    new Http2Connection(this, undefined);
  }
}
