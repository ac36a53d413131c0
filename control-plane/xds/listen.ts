import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from "node:http";
import { type AddressInfo, createServer, type Server as NetServer, type Socket } from "node:net";
import { createServer as createTlsServer } from "node:tls";

import { sniffHttpVersion } from "../admin/sniff.ts";
import { secureContextOf, serverOptionsOf, type XdsTls } from "./credentials.ts";
import type { Http2Connections } from "./http2-connections.ts";

/** Where a server is to listen. */
export interface ListenAddress {
  readonly host: string;
  /** 0 for any free port. */
  readonly port: number;
  /** More are closed as soon as they come. */
  readonly connectionsMax: number;
  /** One of HTTP/1.1 is kept so long for the next request: who polls does so minutes apart, and a poll that meets the end of its connection fails. */
  readonly idleMs: number;
  /** One more was closed. */
  readonly onRefused: () => void;
}

/** Where a server listens. */
export interface Listening {
  readonly port: number;
  /** Takes new certificates from the next connection on. @throws Error in plain text, and for certificates that can't be used */
  readonly setTls: (tls: XdsTls) => void;
  /** Takes no new connections; those of HTTP/1.1 are closed. */
  readonly stop: () => void;
}

type HttpHandler = (request: IncomingMessage, response: ServerResponse) => void;

/** A client that sends a request's head or body so slowly is cut. */
const REQUEST_TIMEOUT_MS = 30_000;
const HANDSHAKE_TIMEOUT_MS = 30_000;

/**
 * Listens for HTTP/2, which is gRPC, and for HTTP/1.1 on the same port. With TLS the handshake tells which it is (ALPN, RFC 9113, 3.2; who doesn't speak of it
 * means HTTP/1.1), in plain text the first bytes of a connection do.
 *
 * @param tls undefined: plain text
 * @throws Error if the address cannot be listened on, or the certificates can't be used
 */
export function listen(
  http2: Http2Connections,
  { host, port, connectionsMax, idleMs, onRefused }: ListenAddress,
  tls: XdsTls | undefined,
  handler: HttpHandler,
): Promise<Listening> {
  const http = createHttpServer({ requestTimeout: REQUEST_TIMEOUT_MS, keepAliveTimeout: idleMs }, handler);
  // It never listens itself, and only then begins to look after the time limits of what it is handed, and what there is to close.
  http.emit("listening");
  const unknown = new Set<Socket>();
  const hand = (socket: Socket, version: "1.1" | "2") => {
    unknown.delete(socket);
    if (version === "2") http2.take(socket);
    else http.emit("connection", socket);
  };
  // As HTTP/2 servers listen: a client may close its side and still read.
  const tcp = { allowHalfOpen: true, noDelay: true };
  const secure =
    tls &&
    createTlsServer(
      {
        ...tcp,
        ...serverOptionsOf(tls),
        ALPNProtocols: ["h2", "http/1.1"],
        handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
      },
      (socket) => {
        // A client that resets its connection is no news.
        socket.on("error", () => socket.destroy());
        hand(socket, socket.alpnProtocol === "h2" ? "2" : "1.1");
      },
    );
  const listener: NetServer =
    secure ??
    createServer(tcp, (socket) => {
      unknown.add(socket);
      socket.once("close", () => unknown.delete(socket));
      sniffHttpVersion(socket, (version) => hand(socket, version));
    });
  listener.maxConnections = connectionsMax;
  listener.on("drop", onRefused);
  const stop = () => {
    listener.close();
    for (const socket of unknown) socket.destroy();
    http.close();
    http.closeAllConnections();
  };
  const setTls = (next: XdsTls) => {
    if (secure === undefined) throw new Error("a server that began with plain text speaks no TLS");
    secure.setSecureContext(secureContextOf(next));
  };
  return new Promise((resolve, reject) => {
    listener.once("error", (error) => reject(cannotListen(host, port, error)));
    listener.listen(port, host, () => resolve({ port: (listener.address() as AddressInfo).port, setTls, stop }));
  });
}

export const bracketed = (host: string): string => (host.includes(":") ? `[${host}]` : host);

const cannotListen = (host: string, port: number, error: Error) =>
  new Error(`cannot serve xDS on ${bracketed(host)}:${port}: ${error.message}`, { cause: error });
