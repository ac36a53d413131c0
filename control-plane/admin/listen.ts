import http from "node:http";
import http2 from "node:http2";
import net from "node:net";

import { type Address, formatAddress } from "./address.ts";
import { sniffHttpVersion } from "./sniff.ts";
import { StartError } from "./start-error.ts";

/** Handles a request of either HTTP version. */
export type Handler = (
  request: http.IncomingMessage | http2.Http2ServerRequest,
  response: http.ServerResponse | http2.Http2ServerResponse,
) => void;

/** A port that speaks HTTP/1.1 and HTTP/2. */
export interface HttpPort {
  readonly address: Address;
  /** Takes other keys from the next connection on; only with TLS. @throws Error for keys that can't be used */
  setTls(tls: TlsKeys): void;
  /** Accepts nothing new, waits for answers under way, and after `drainMs` cuts what is left. */
  close(drainMs: number): Promise<void>;
}

/** PEM. */
export interface TlsKeys {
  readonly cert: string;
  readonly key: string;
}

const CONNECTIONS_MAX = 10_000;
const STREAMS_MAX = 1_000;
/** An HTTP/2 connection without a call is ended after so long, as one of HTTP/1.1 is after a minute: it would take the place of others for ever. */
const IDLE_MS_DEFAULT = 300_000;
/** Finds clients whose machine went without a word, also those that wait for changes. */
const KEEP_ALIVE = { keepAlive: true, keepAliveInitialDelay: 60_000 };

/** For the header block of an answer; one with the problems of a large gateway is larger than Node's default takes. */
const SEND_HEADERS_BYTES_MAX = 256 * 1024;

/**
 * Listens on an address. Without TLS the first bytes of a connection tell HTTP/2 from HTTP/1.1; with TLS its handshake does (ALPN).
 * @param flag names the address in errors: "--admin"
 * @param idleMs after which an HTTP/2 connection without a call is ended
 * @throws StartError if the address is taken or isn't this machine's
 */
export async function listenHttp(
  address: Address,
  flag: string,
  tls: TlsKeys | undefined,
  handler: Handler,
  idleMs = IDLE_MS_DEFAULT,
): Promise<HttpPort> {
  const http1 = http.createServer(
    { requestTimeout: 300_000, headersTimeout: 30_000, keepAliveTimeout: 60_000 },
    handler,
  );
  // It never listens itself, and only then begins to look after the time limits and the idle connections of what it is handed.
  http1.emit("listening");
  const http2Options = {
    settings: { maxConcurrentStreams: STREAMS_MAX },
    maxSendHeaderBlockLength: SEND_HEADERS_BYTES_MAX,
  };
  const secure =
    tls === undefined
      ? undefined
      : http2.createSecureServer(
          { ...tls, ...http2Options, ...KEEP_ALIVE, allowHTTP1: true, minVersion: "TLSv1.2" },
          handler,
        );
  const plainHttp2 = http2.createServer(http2Options, handler);
  const server: net.Server =
    secure ??
    net.createServer(KEEP_ALIVE, (socket) => {
      sniffHttpVersion(socket, (version) => (version === "2" ? plainHttp2 : http1).emit("connection", socket));
    });
  server.maxConnections = CONNECTIONS_MAX;

  const sockets = new Set<net.Socket>();
  server.on("connection", (socket: net.Socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    // A client that resets its connection is no news.
    socket.on("error", () => socket.destroy());
  });
  const sessions = new Set<http2.ServerHttp2Session>();
  for (const each of [plainHttp2, secure]) {
    each?.on("session", (session) => {
      sessions.add(session);
      session.once("close", () => sessions.delete(session));
      session.on("error", () => session.destroy());
      endIdle(session, idleMs);
    });
  }

  await bind(server, address, flag);
  const bound = server.address();
  const port = bound !== null && typeof bound === "object" ? bound.port : address.port;

  return {
    address: { host: address.host, port },
    setTls(keys) {
      if (secure === undefined) throw new Error("this port has no TLS");
      secure.setSecureContext(keys);
    },
    async close(drainMs) {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const session of sessions) session.close();
      http1.closeIdleConnections();
      // Connections that were idle when they were looked at may still end up idle.
      const sweep = setInterval(() => http1.closeIdleConnections(), 50);
      const force = setTimeout(() => {
        for (const session of sessions) session.destroy();
        for (const socket of sockets) socket.destroy();
      }, drainMs);
      await closed;
      clearInterval(sweep);
      clearTimeout(force);
      // Ends its looking after connections.
      http1.close(() => {});
    },
  };
}

/** GOAWAY for a connection without a call; its client makes a new one for the next. */
function endIdle(session: http2.ServerHttp2Session, idleMs: number): void {
  let calls = 0;
  const wait = () => setTimeout(() => session.close(), idleMs).unref();
  let timer = wait();
  session.once("close", () => clearTimeout(timer));
  session.on("stream", (stream) => {
    calls++;
    clearTimeout(timer);
    stream.once("close", () => {
      calls--;
      if (calls === 0 && !session.closed) timer = wait();
    });
  });
}

async function bind(server: net.Server, address: Address, flag: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => reject(listenError(error, address, flag)));
    server.listen({ host: address.host, port: address.port }, resolve);
  });
}

/** Why a server can't listen, naming the address and the flag that chose it. */
export function listenError(error: NodeJS.ErrnoException, address: Address, flag: string): Error {
  const at = formatAddress(address);
  const why: Record<string, string> = {
    EADDRINUSE: `${at} is taken by another program; stop that one, or choose another address with ${flag}`,
    EADDRNOTAVAIL: `${at} is no address of this machine; choose another one with ${flag}`,
    EACCES: `the system doesn't allow this user to listen on ${at}; choose another address with ${flag}`,
    ENOTFOUND: `${at}: there is no such host; choose another address with ${flag}`,
  };
  const message = why[error.code ?? ""];
  return message === undefined ? error : new StartError(message, { cause: error });
}
