import { connect, isIP, type OnReadOpts, Socket } from "node:net";
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from "node:tls";

import type { Endpoint } from "../cluster/cluster.ts";
import { readBuffer } from "../listen/read-buffer.ts";
import type { ClientTls } from "./tls.ts";
import { handshakeFailure, verifyFailure } from "./tls-failure.ts";

/** What to connect to, and whom to tell. */
export interface DialOptions {
  readonly endpoint: Endpoint;
  readonly tls: ClientTls | undefined;
  /** The name to ask the TLS server for in place of the configured one; "": that one. */
  readonly serverName: string;
  /** Protocols to offer by ALPN. */
  readonly alpn: readonly string[];
  readonly keepaliveMs: number | undefined;
  /** Connected, with TLS: shaken hands with the endpoint that is meant. On failure the socket has "error" and "close". */
  readonly onReady: () => void;
  /** With TLS: a connection that is there already, to shake hands over. */
  readonly over?: Socket | undefined;
  /** Takes what was read, the first `length` bytes of the buffer, valid during the call only. Undefined: the socket is read as a stream. */
  readonly onRead?: (bytes: Buffer, length: number) => void;
}

const TLS_READ_BYTES = 16_384;

/** How long one of several addresses is waited for before the next one is tried (Envoy's delay; RFC 8305, 5 recommends 250). */
const ATTEMPT_DELAY_MS = 300;

/** Begins to connect to an endpoint. The socket keeps its half open when the other is closed; the caller closes it. */
export function openSocket(options: DialOptions): Socket {
  const { tls, keepaliveMs, onReady } = options;
  let socket: Socket;
  if (tls === undefined) {
    socket = connect({ ...target(options), ...reading(options, readBuffer), noDelay: true, allowHalfOpen: true });
    socket.once("connect", onReady);
  } else if (tls.context === undefined) {
    socket = new Socket();
    socket.destroy(new Error("TLS_error:_Secret_is_not_supplied_by_SDS"));
  } else socket = openTls(options, tls);
  if (keepaliveMs !== undefined) socket.setKeepAlive(true, keepaliveMs);
  return socket;
}

function openTls(options: DialOptions, tls: ClientTls): TLSSocket {
  const { endpoint, serverName, alpn, onReady } = options;
  const { sni, alpnProtocols } = tls.settings;
  const wanted = serverName || sni || (isIP(endpoint.hostname) === 0 ? endpoint.hostname : "");
  const key = `${endpoint.key} ${wanted}`;
  const session = tls.session(key);
  const settings: ConnectionOptions & Partial<{ onread: OnReadOpts }> & { allowHalfOpen: boolean } = {
    ...(options.over === undefined ? target(options) : { socket: options.over }),
    ...(options.onRead && reading(options, Buffer.allocUnsafeSlow(TLS_READ_BYTES))),
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

/** Where to connect. Several addresses are tried one after the other, families in turn, by Node. */
function target({ endpoint }: DialOptions) {
  const { address, port, additionalAddresses } = endpoint;
  if (additionalAddresses.length === 0) return { host: address, port };
  return {
    host: "endpoint.invalid",
    port,
    autoSelectFamily: true,
    autoSelectFamilyAttemptTimeout: ATTEMPT_DELAY_MS,
    lookup: (_name: string, _options: unknown, found: (error: null, addresses: Address[]) => void) =>
      found(
        null,
        [address, ...additionalAddresses].map((one) => ({ address: one, family: isIP(one) })),
      ),
  };
}

interface Address {
  readonly address: string;
  readonly family: number;
}

function reading({ onRead }: DialOptions, buffer: Buffer): { readonly onread?: OnReadOpts } {
  if (onRead === undefined) return {};
  const callback = (length: number, bytes: Uint8Array): boolean => {
    onRead(bytes as Buffer, length);
    return true;
  };
  return { onread: { buffer, callback } };
}

/** As Envoy words it in logs, with "_" for spaces and without addresses. */
export function describeFailure(error: NodeJS.ErrnoException): string {
  const { code = "", message } = error;
  if (code === "ECONNREFUSED") return "delayed_connect_error:_Connection_refused";
  return (handshakeFailure(code, message) ?? (code || message)).replaceAll(" ", "_");
}
