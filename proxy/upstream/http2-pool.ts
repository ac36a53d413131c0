import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";

import type { Endpoint } from "../cluster/cluster.ts";
import type { ClusterContext } from "./cluster-context.ts";
import type { Dial } from "./dial.ts";
import { Http2Connection } from "./http2-connection.ts";
import { type PoolUser, WaitingPool } from "./waiting-pool.ts";

const HTTP2_ONLY = ["h2"];
const BOTH = ["h2", "http/1.1"];
/** RFC 9113, 6.5.2: "recommended that this value be no smaller than 100". */
const STREAMS_ALLOWED_INITIAL = 100;

/** The HTTP/2 connections of this worker to one endpoint; requests share them. */
export class Http2Pool extends WaitingPool {
  /** Streams on a connection whose endpoint has not told its limit yet, as it is about to: what it told last, but for 0. What is beyond its limit would be refused. */
  streamsAllowed: number = STREAMS_ALLOWED_INITIAL;
  /** Takes a connection whose endpoint, offered both by ALPN, chose HTTP/1.1; undefined: only HTTP/2 is offered. */
  readonly #onHttp1: ((socket: Socket, dial: Dial) => void) | undefined;
  readonly #connections: Http2Connection[] = [];

  constructor(
    cluster: ClusterContext,
    endpoint: Endpoint,
    serverName: string,
    onHttp1?: (socket: Socket, dial: Dial) => void,
  ) {
    super(cluster, endpoint, serverName);
    this.#onHttp1 = onHttp1;
  }

  acquire(user: PoolUser): void {
    const connections = this.#connections;
    for (let at = 0; at < connections.length; ) {
      const connection = connections[at] as Http2Connection;
      if (connection.takesRequest) return connection.carry(user);
      // One that has just found out that it is to end is no longer in the list, and the next one is in its place.
      if (connections[at] === connection) at++;
    }
    this.enqueue(user);
  }

  override cancel(user: PoolUser): void {
    super.cancel(user);
    for (const connection of this.#connections) connection.cancelUpgrade(user);
  }

  /** Goes on with a connection on which HTTP/2 was agreed. */
  adopt(socket: Socket, dial: Dial): void {
    this.takeOver();
    this.#use(socket, dial);
  }

  onDialled(socket: Socket, dial: Dial): void {
    if (this.#onHttp1 === undefined || (socket as TLSSocket).alpnProtocol !== "http/1.1")
      return this.#use(socket, dial);
    // The endpoint chose HTTP/1.1: the connection is no longer ours.
    this.connecting--;
    this.handOver();
    this.#onHttp1(socket, dial);
  }

  #use(socket: Socket, dial: Dial): void {
    this.connecting--;
    const connection = new Http2Connection(this, socket, dial);
    this.#connections.push(connection);
    this.onCapacity(connection);
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

  /** A connection is gone. */
  onClosed(connection: Http2Connection): void {
    this.onDraining(connection);
    this.discount();
  }

  closeIdle(): void {
    for (const connection of [...this.#connections]) connection.drain();
  }

  closeStale(): void {
    for (const connection of [...this.#connections]) if (!connection.isCurrent) connection.drain();
  }

  protected get requestsPerConnection(): number {
    const { maxRequestsPerConnection, http2 } = this.cluster.cluster.settings;
    return maxRequestsPerConnection > 0
      ? Math.min(maxRequestsPerConnection, http2.maxConcurrentStreams)
      : http2.maxConcurrentStreams;
  }

  /** Not while a connection is about to tell how many requests it takes. */
  protected override connectIfNeeded(): void {
    if (this.waiting.length > 0 && this.#connections.some(({ awaitsSettings }) => awaitsSettings)) return;
    super.connectIfNeeded();
  }

  protected connect(): void {
    this.dial(this.#onHttp1 === undefined ? HTTP2_ONLY : BOTH, { onRead: () => {} });
  }
}
