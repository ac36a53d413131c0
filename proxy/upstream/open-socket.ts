import { connect, isIP, type OnReadOpts, Socket } from "node:net";
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from "node:tls";

import type { Endpoint } from "../cluster/cluster.ts";
import { readBuffer } from "../listen/read-buffer.ts";
import type { ClientTls } from "./tls.ts";
import { handshakeFailure, verifyFailure } from "./tls-failure.ts";

/** Takes what a connection reads. Whoever gets the connection sets `onRead`, before anything can have come. */
export interface SocketReader {
  /** The first `length` bytes of the buffer, valid during the call only. */
  onRead: (bytes: Buffer, length: number) => void;
}

/** How to connect to an endpoint. */
export interface SocketOptions {
  readonly endpoint: Endpoint;
  readonly tls: ClientTls | undefined;
  /** The name to ask the TLS server for in place of the configured one; "": that one. */
  readonly serverName: string;
  /** Protocols to offer by ALPN. */
  readonly alpn: readonly string[];
  readonly keepaliveMs: number | undefined;
  /** Undefined: the socket is read as a stream. */
  readonly reader?: SocketReader | undefined;
  /** With TLS: a connection that is there already, to shake hands over. */
  readonly over?: Socket | undefined;
}

/**
 * Begins to connect to one of an endpoint's addresses. `onReady`: connected, and with TLS shaken hands with the endpoint that is meant; on failure
 * the socket has "error" and "close". It keeps its half open when the other is closed; the caller closes it.
 */
export function openSocket(options: SocketOptions, address: string, onReady: () => void): Socket {
  const { tls, keepaliveMs } = options;
  const target = { host: address, port: options.endpoint.port };
  let socket: Socket;
  if (tls === undefined) {
    socket = connect({ ...target, ...reading(options), noDelay: true, allowHalfOpen: true });
    socket.once("connect", onReady);
  } else if (tls.context === undefined) {
    socket = new Socket();
    socket.destroy(new Error("TLS_error:_Secret_is_not_supplied_by_SDS"));
  } else socket = openTls(options, tls, target, onReady);
  if (keepaliveMs !== undefined) socket.setKeepAlive(true, keepaliveMs);
  return socket;
}

function openTls(
  options: SocketOptions,
  tls: ClientTls,
  target: { readonly host: string; readonly port: number },
  onReady: () => void,
): TLSSocket {
  const { endpoint, serverName, alpn } = options;
  const { sni, alpnProtocols } = tls.settings;
  const wanted = serverName || sni || (isIP(endpoint.hostname) === 0 ? endpoint.hostname : "");
  const key = `${endpoint.key} ${wanted}`;
  const session = tls.session(key);
  const settings: ConnectionOptions & Partial<{ onread: OnReadOpts }> & { allowHalfOpen: boolean } = {
    ...(options.over === undefined ? target : { socket: options.over }),
    ...reading(options),
    ...(tls.context && { secureContext: tls.context }),
    // RFC 6066, 3: an address is no server name.
    ...(wanted !== "" && isIP(wanted) === 0 && { servername: wanted }),
    ...(session !== undefined && { session }),
    // We look ourselves, at more than the chain and the name.
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
    ALPNProtocols: [...(alpnProtocols.length > 0 ? alpnProtocols : alpn)],
    allowHalfOpen: true,
  };
  const socket = connectTls(settings);
  socket.setNoDelay(true);
  socket.once("secureConnect", () => {
    const problem = tls.problem(socket, wanted);
    if (problem !== undefined) {
      socket.destroy(new Error(verifyFailure(problem)));
      return;
    }
    // Only a verified one is kept, since a resumed one isn't looked at again. In TLS 1.3 they come after the handshake.
    if (socket.getProtocol() === "TLSv1.3") socket.on("session", (ticket) => tls.keepSession(key, ticket));
    else tls.keepSession(key, socket.getSession());
    onReady();
  });
  return socket;
}

function reading({ reader }: SocketOptions): { readonly onread?: OnReadOpts } {
  if (reader === undefined) return {};
  const callback = (length: number, bytes: Uint8Array): boolean => {
    reader.onRead(bytes as Buffer, length);
    return true;
  };
  return { onread: { buffer: readBuffer, callback } };
}

/** As Envoy words it in logs, with "_" for spaces and without addresses. */
export function describeFailure(error: NodeJS.ErrnoException): string {
  const { code = "", message } = error;
  if (code === "ECONNREFUSED") return "delayed_connect_error:_Connection_refused";
  return (handshakeFailure(code, message) ?? (code || message)).replaceAll(" ", "_");
}
