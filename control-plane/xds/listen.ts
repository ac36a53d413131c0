import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from "node:http";
import { type AddressInfo, createServer, type Socket } from "node:net";

import { type Server, ServerCredentials } from "@grpc/grpc-js";

import { sniffHttpVersion } from "../admin/sniff.ts";

/** Where a server listens. */
export interface Listening {
  readonly port: number;
  /** Takes no new connections; those of HTTP/1.1 are closed. */
  readonly stop: () => void;
}

type HttpHandler = (request: IncomingMessage, response: ServerResponse) => void;

/** A client that sends a request's head or body so slowly is cut. */
const REQUEST_TIMEOUT_MS = 30_000;

/**
 * Listens for gRPC with TLS.
 *
 * @throws Error if the address cannot be listened on
 */
export function listenTls(
  server: Server,
  host: string,
  port: number,
  credentials: ServerCredentials,
): Promise<Listening> {
  return new Promise((resolve, reject) => {
    server.bindAsync(`${bracketed(host)}:${port}`, credentials, (error, bound) => {
      if (error === null) resolve({ port: bound, stop: () => {} });
      else reject(cannotListen(host, port, error));
    });
  });
}

/**
 * Listens for gRPC in plain text, and for HTTP/1.1 on the same port: the first bytes of a connection tell which it is.
 *
 * @throws Error if the address cannot be listened on
 */
export function listenPlain(server: Server, host: string, port: number, handler: HttpHandler): Promise<Listening> {
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  const http = createHttpServer({ requestTimeout: REQUEST_TIMEOUT_MS }, handler);
  const unknown = new Set<Socket>();
  // As HTTP/2 servers listen: a client may close its side and still read.
  const listener = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    unknown.add(socket);
    socket.once("close", () => unknown.delete(socket));
    sniffHttpVersion(socket, (version) => {
      unknown.delete(socket);
      if (version === "2") injector.injectConnection(socket);
      else http.emit("connection", socket);
    });
  });
  const stop = () => {
    listener.close();
    for (const socket of unknown) socket.destroy();
    http.close();
    http.closeAllConnections();
  };
  return new Promise((resolve, reject) => {
    listener.once("error", (error) => reject(cannotListen(host, port, error)));
    listener.listen(port, host, () => resolve({ port: (listener.address() as AddressInfo).port, stop }));
  });
}

export const bracketed = (host: string): string => (host.includes(":") ? `[${host}]` : host);

const cannotListen = (host: string, port: number, error: Error) =>
  new Error(`cannot serve xDS on ${bracketed(host)}:${port}: ${error.message}`, { cause: error });
