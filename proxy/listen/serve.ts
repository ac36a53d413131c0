import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";

import { ServerConnection } from "../http1/server-connection.ts";
import { Http2Connection } from "../http2/server-connection.ts";
import type { ListenerState } from "./state.ts";

/** A client's connection, whatever it speaks. */
export interface ServedConnection {
  /** Serves no further request: closes now if idle, else after the responses. */
  drain(): void;
  destroy(): void;
}

/**
 * Serves a client's connection by HTTP/1 or HTTP/2: TLS has agreed on one of them (ALPN), codec_type names one, or the client's first bytes
 * tell. `connections` holds it while it is open. `socket`: connected, TLS done, not read from yet.
 */
export function serve(socket: Socket, listener: ListenerState, connections: Set<ServedConnection>): void {
  const { stats, options } = listener;
  const onClosed = (connection: ServedConnection): void => void connections.delete(connection);
  const serveHttp2 = (): void => {
    stats.downstream_cx_http2_total.inc();
    connections.add(new Http2Connection(socket, listener, onClosed));
  };
  stats.downstream_cx_total.inc();
  stats.downstream_cx_active.inc();
  if (socket instanceof TLSSocket) stats.downstream_cx_ssl_total.inc();
  const { codec } = options.http;
  const agreed = socket instanceof TLSSocket ? socket.alpnProtocol : false;
  if (codec === "http2" || (codec === "auto" && agreed === "h2")) return serveHttp2();
  // A client that agreed on HTTP/1.1 keeps to it.
  const connection = new ServerConnection(
    socket,
    listener,
    onClosed,
    codec === "http1" || agreed !== false
      ? undefined
      : () => {
          connections.delete(connection);
          serveHttp2();
        },
  );
  connections.add(connection);
}
