import { createServer, type Server, type Socket } from "node:net";

import { Timer, timers } from "../listen/timers.ts";
import type { DataPathStats, Runtime } from "./context.ts";
import type { ListenerOptions } from "./options.ts";
import { serve, type ServedConnection } from "./serve.ts";
import type { ListenerState } from "./state.ts";

/** What a listener works with. */
export interface ListenContext {
  readonly runtime: Runtime;
  /** Whether other workers listen on the same port. */
  readonly reusePort?: boolean;
}

/** A listener that accepts connections. */
export interface RunningListener {
  /** The port it is bound to; of interest when port 0 was asked for. */
  readonly port: number;
  /** New options for the same address, for all requests that begin from now on; no connection is dropped. */
  update(options: ListenerOptions): void;
  /**
   * Accepts no more, closes idle connections, and has the others close after their response. Resolves when none is left, or after so many
   * ms, when the rest is cut off.
   */
  drain(timeMs: number): Promise<void>;
  /** Stops at once. */
  close(): Promise<void>;
}

/** An address that cannot be listened on; the message says which and why. */
export class ListenError extends Error {
  override readonly name = "ListenError";
}

/** Binds a listener and serves its connections. Rejects with ListenError if the address can't be bound. */
export async function startListener(options: ListenerOptions, context: ListenContext): Promise<RunningListener> {
  const stats = context.runtime.stats.listener(options.http.statPrefix);
  const state: ListenerState = {
    options,
    runtime: context.runtime,
    stats,
    byClass: [
      undefined,
      stats.downstream_rq_1xx,
      stats.downstream_rq_2xx,
      stats.downstream_rq_3xx,
      stats.downstream_rq_4xx,
      stats.downstream_rq_5xx,
    ],
    port: options.port,
    draining: false,
  };
  const connections = new Set<ServedConnection>();
  // A client may end its half after its last request and still read the answer.
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    countConnection(socket, state.port, context.runtime.stats);
    serve(socket, state, connections);
  });
  await listen(server, options, context.reusePort === true);
  const address = server.address();
  if (address !== null && typeof address === "object") state.port = address.port;
  return new TcpListener(server, state, connections);
}

/** Counts a connection under the address that it was made to. */
function countConnection(socket: Socket, port: number, stats: DataPathStats): void {
  const address = socket.localAddress ?? "";
  const own = stats.address(`${address.startsWith("::ffff:") ? address.slice(7) : address}_${port}`);
  const openedAt = performance.now();
  own.downstream_cx_total.inc();
  own.downstream_cx_active.inc();
  socket.once("close", () => {
    own.downstream_cx_active.dec();
    own.downstream_cx_destroy.inc();
    own.downstream_cx_length_ms.record(performance.now() - openedAt);
  });
}

class TcpListener implements RunningListener {
  readonly #server: Server;
  readonly #state: ListenerState;
  readonly #connections: Set<ServedConnection>;
  #closed: Promise<void> | undefined = undefined;

  constructor(server: Server, state: ListenerState, connections: Set<ServedConnection>) {
    this.#server = server;
    this.#state = state;
    this.#connections = connections;
  }

  get port(): number {
    return this.#state.port;
  }

  update(options: ListenerOptions): void {
    this.#state.options = options;
  }

  async drain(timeMs: number): Promise<void> {
    this.#state.draining = true;
    const closed = this.#stop();
    for (const connection of this.#connections) connection.drain();
    const cutOff = new Timer({ onTimer: () => this.#destroyAll() }, 0);
    timers.schedule(cutOff, timeMs);
    await closed;
    timers.cancel(cutOff);
  }

  async close(): Promise<void> {
    const closed = this.#stop();
    this.#destroyAll();
    await closed;
  }

  #destroyAll(): void {
    for (const connection of this.#connections) connection.destroy();
  }

  /** Resolves when the last connection is closed. */
  #stop(): Promise<void> {
    this.#closed ??= new Promise((resolve) => {
      this.#server.close(() => resolve());
    });
    return this.#closed;
  }
}

function listen(server: Server, options: ListenerOptions, reusePort: boolean): Promise<void> {
  const { address, port, backlog, name } = options;
  return new Promise((resolve, reject) => {
    const onError = (error: NodeJS.ErrnoException): void => {
      const why = error.code === "EADDRINUSE" ? "the port is taken" : error.message;
      reject(new ListenError(`listener ${name}: cannot listen on ${address}:${port}: ${why}`, { cause: error }));
    };
    server.once("error", onError);
    server.listen({ host: address, port, backlog, ...(reusePort && { reusePort }) }, () => {
      server.off("error", onError);
      // Accepting can fail for a moment, as when the process has no descriptor left; the listener goes on.
      server.on("error", () => {});
      resolve();
    });
  });
}
