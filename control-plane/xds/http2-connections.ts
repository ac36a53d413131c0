/** The HTTP/2 connections of the xDS port: keepalive (T8), the end of idle ones, and a graceful shutdown. What their streams carry is others' affair. */
import { createServer, type IncomingHttpHeaders, type ServerHttp2Session, type ServerHttp2Stream } from "node:http2";
import type { Socket } from "node:net";

import type { XdsLimits } from "./limits.ts";

export interface Http2Options {
  readonly limits: Pick<
    XdsLimits,
    "streamsMax" | "keepaliveTimeMs" | "keepaliveTimeoutMs" | "connectionIdleMs" | "firstRequestTimeoutMs"
  >;
  readonly onStream: (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void;
  /** A connection without a stream was ended. */
  readonly onIdle: () => void;
}

/** Streams that a client may cancel on one connection, once it has cancelled as many as it may have: node:http2's own rate. */
const RESETS_PER_SECOND = 33;

/** All connections of a port that speak HTTP/2. */
export class Http2Connections {
  readonly #options: Http2Options;
  readonly #server;
  readonly #open = new Set<Http2Connection>();
  #onEmpty: (() => void) | undefined;
  #closing = false;

  constructor(options: Http2Options) {
    this.#options = options;
    this.#server = createServer({
      // A response to a client that holds tens of thousands of resources is written in one go; what is written is bounded where it is made.
      maxSessionMemory: Number.MAX_SAFE_INTEGER,
      settings: { maxConcurrentStreams: options.limits.streamsMax },
      // Who may have so many streams may cancel them at once, as a load balancer does that loses the data planes behind it. By default the
      // whole connection, with everybody else's streams, ends after a thousand.
      streamResetBurst: options.limits.streamsMax,
      streamResetRate: RESETS_PER_SECOND,
    });
    this.#server.on("stream", options.onStream);
  }

  /** Serves a connection whose TLS, if any, is done. */
  take(socket: Socket): void {
    if (this.#closing) {
      socket.destroy();
      return;
    }
    // Comes before the next line has ended.
    this.#server.once("session", (session) => this.#enter(session, socket));
    this.#server.emit("connection", socket);
  }

  /** Lets streams end for so long, then cuts what is left. */
  close(graceMs: number): Promise<void> {
    this.#closing = true;
    return new Promise((resolve) => {
      const force = setTimeout(() => {
        for (const connection of this.#open) connection.destroy();
      }, graceMs);
      this.#onEmpty = () => {
        clearTimeout(force);
        resolve();
      };
      for (const connection of this.#open) connection.close();
      if (this.#open.size === 0) this.#onEmpty();
    });
  }

  #enter(session: ServerHttp2Session, socket: Socket): void {
    const connection = new Http2Connection(session, socket, this.#options);
    this.#open.add(connection);
    session.once("close", () => {
      connection.forget();
      this.#open.delete(connection);
      if (this.#open.size === 0) this.#onEmpty?.();
    });
    // Who has closed its side can't answer any more, not even pings: a data plane that was killed, whose streams would else last until the next one.
    socket.once("end", () => connection.destroy());
    // What goes wrong with a connection, its "close" tells.
    session.on("error", () => {});
    session.on("stream", (stream) => connection.opened(stream));
  }
}

/** One connection: pings it, and ends it when nothing has come on it for a while. */
class Http2Connection {
  readonly #session: ServerHttp2Session;
  /** A session that has ended lets go of it, though the client may have its side open still. */
  readonly #socket: Socket;
  readonly #options: Http2Options;
  #streams = 0;
  #idle: NodeJS.Timeout | undefined;
  #keepalive: NodeJS.Timeout | undefined;
  readonly #streamClosed = () => {
    if (--this.#streams === 0) this.#waitForStreams(this.#options.limits.connectionIdleMs);
  };

  constructor(session: ServerHttp2Session, socket: Socket, options: Http2Options) {
    this.#session = session;
    this.#socket = socket;
    this.#options = options;
    this.#waitForStreams(options.limits.firstRequestTimeoutMs);
    this.#pingLater();
  }

  opened(stream: ServerHttp2Stream): void {
    this.#streams++;
    clearTimeout(this.#idle);
    stream.once("close", this.#streamClosed);
  }

  /** Takes no new streams, and ends with the last one. */
  close(): void {
    this.#session.close();
  }

  destroy(): void {
    this.#session.destroy();
    this.#socket.destroy();
  }

  /** It is gone. */
  forget(): void {
    clearTimeout(this.#idle);
    clearTimeout(this.#keepalive);
  }

  #waitForStreams(idleMs: number): void {
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => this.#retire(), idleMs).unref();
  }

  /** GOAWAY tells that a request which is on its way is not looked at, so that clients send it again on another connection (RFC 9113, 6.8). */
  #retire(): void {
    if (this.#session.destroyed || this.#session.closed) return;
    this.#options.onIdle();
    this.#session.close();
    // Our side is closed, and what comes is read until the client closes its own, or it might never read why.
    this.#idle = setTimeout(() => this.#socket.destroy(), this.#options.limits.keepaliveTimeoutMs).unref();
  }

  #pingLater(): void {
    this.#keepalive = setTimeout(() => this.#ping(), this.#options.limits.keepaliveTimeMs).unref();
  }

  #ping(): void {
    const session = this.#session;
    if (session.destroyed) return;
    const dead = setTimeout(() => this.destroy(), this.#options.limits.keepaliveTimeoutMs).unref();
    const asked = session.ping((error) => {
      clearTimeout(dead);
      if (error === null) this.#pingLater();
      else this.destroy();
    });
    if (!asked) this.destroy();
  }
}
