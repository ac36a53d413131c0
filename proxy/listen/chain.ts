import type { Socket } from "node:net";

import type { Peer } from "../filters/record.ts";
import type { TicketKeys } from "../tls/secret.ts";
import { type Connection, serve } from "./codec.ts";
import type { AddressStats, Runtime } from "./context.ts";
import { countHandshake } from "./count-handshake.ts";
import type { Crowd } from "./crowd.ts";
import type { FilterChainOptions } from "./options.ts";
import type { ListenerState } from "./state.ts";
import { Timer, timers } from "./timers.ts";
import { TlsServer } from "./tls-server.ts";

/**
 * How much of the time that connections have to end one must have been idle to be closed, with bounds. The longer the safer: the request of a client that is
 * slow may meet the end of its connection, and over HTTP/1.1 nobody knows then whether it was looked at.
 */
const DRAIN_IDLE_SHARE = 0.1;
const DRAIN_IDLE_MS_MIN = 1_000;
const DRAIN_IDLE_MS_MAX = 10_000;

/** What a filter chain at work needs of its surroundings. */
export interface ChainContext {
  readonly runtime: Runtime;
  readonly port: number;
  readonly crowd: Crowd | undefined;
  /** The key for session tickets that all workers have at the moment. */
  readonly ticketKeys: () => TicketKeys | undefined;
}

/** A filter chain at work: it takes connections through TLS to their codec, and lets them end when it drains. */
export class Chain {
  readonly #state: ListenerState;
  readonly #tls: TlsServer | undefined;
  readonly #connections = new Set<Connection>();
  readonly #handshakes = new Set<Socket>();
  #drained: PromiseWithResolvers<void> | undefined = undefined;

  constructor(options: FilterChainOptions, context: ChainContext) {
    const { runtime, port, crowd } = context;
    const stats = runtime.stats.listener(options.http.statPrefix);
    this.#state = {
      options,
      runtime,
      stats,
      byClass: [
        undefined,
        stats.downstream_rq_1xx,
        stats.downstream_rq_2xx,
        stats.downstream_rq_3xx,
        stats.downstream_rq_4xx,
        stats.downstream_rq_5xx,
      ],
      port,
      crowd,
      draining: false,
    };
    this.#tls = options.tls && new TlsServer(options.tls, runtime, context.ticketKeys);
  }

  get options(): FilterChainOptions {
    return this.#state.options;
  }

  /** Whether a host is another chain's to answer (421); undefined: all hosts are ours. */
  set misdirects(misdirects: ListenerState["misdirects"]) {
    this.#state.misdirects = misdirects;
  }

  /** The port that the listener is bound to. */
  set port(port: number) {
    this.#state.port = port;
  }

  /** Connections with their handshakes done or under way. */
  get size(): number {
    return this.#connections.size + this.#handshakes.size;
  }

  /**
   * Takes a connection; `serverName`: what a ClientHello named, if anything looked; `peer`: its addresses if they are not the socket's own;
   * `stats`: of the address that it was made to.
   */
  accept(socket: Socket, serverName: string, peer: Peer | undefined, stats: AddressStats): void {
    if (this.#tls === undefined) return this.#serve(socket, "http", "", peer);
    this.#handshakes.add(socket);
    this.#tls.accept(socket, serverName, (handshake) => {
      this.#handshakes.delete(socket);
      countHandshake(handshake, stats);
      if (handshake.ok) this.#serve(handshake.socket, "https", handshake.socket.alpnProtocol || "", peer);
      else this.#checkDrained();
    });
  }

  /**
   * Has connections end after their response or, when nothing comes, as they are idle. Resolves when none is left, or after so many ms, when the rest
   * is cut off. To be called again for connections that came meanwhile.
   */
  async drain(timeMs: number): Promise<void> {
    this.#state.draining = true;
    this.#state.drainIdleMs = Math.min(Math.max(timeMs * DRAIN_IDLE_SHARE, DRAIN_IDLE_MS_MIN), DRAIN_IDLE_MS_MAX);
    this.#drained ??= Promise.withResolvers();
    const { promise } = this.#drained;
    for (const connection of this.#connections) connection.drain();
    const cutOff = new Timer({ onTimer: () => this.destroy() }, 0);
    timers.schedule(cutOff, timeMs);
    this.#checkDrained();
    await promise;
    timers.cancel(cutOff);
  }

  /**
   * Whether clients are to go elsewhere, without the chain itself coming to an end: each connection, those that still come among them, has one more
   * answer. What was told to end so stays told.
   */
  sendAway(away: boolean): void {
    if (this.#drained !== undefined || this.#state.draining === away) return;
    this.#state.draining = away;
    if (away) for (const connection of this.#connections) connection.drain();
  }

  /** Closes all connections at once. */
  destroy(): void {
    for (const connection of this.#connections) connection.destroy();
    for (const socket of this.#handshakes) socket.destroy();
  }

  #serve(socket: Socket, scheme: "http" | "https", applicationProtocol: string, peer: Peer | undefined): void {
    const connection = serve({ socket, scheme, applicationProtocol, peer }, this.#state, (closed) => {
      this.#connections.delete(closed);
      this.#checkDrained();
    });
    this.#connections.add(connection);
    // It came through while the chain began to drain.
    if (this.#state.draining) connection.drain();
  }

  #checkDrained(): void {
    if (this.#drained === undefined || this.size > 0) return;
    this.#drained.resolve();
    this.#drained = undefined;
  }
}
