import type { Socket } from "node:net";

import type { Peer } from "../filters/record.ts";
import { ServerConnection } from "../http1/server-connection.ts";
import { Http2Connection } from "../http2/server-connection.ts";
import type { ListenerState } from "./state.ts";

/** A client's connection that is served, whatever codec it speaks. */
export interface Connection {
  /** Serves no further request: closes when idle, else after the response. */
  drain(): void;
  /** Closes at once. */
  destroy(): void;
}

/** A connection that was accepted, with TLS (if any) done. Its socket may be paused. */
export interface Accepted {
  readonly socket: Socket;
  readonly scheme: "http" | "https";
  /** What ALPN came to; "" if nothing. */
  readonly applicationProtocol: string;
  /** The addresses as a PROXY header names them; undefined: the socket's. */
  readonly peer: Peer | undefined;
}

/** Begins to serve a connection by the codec that fits: the one that codec_type names, that ALPN came to, or that the first bytes show. */
export function serve(accepted: Accepted, state: ListenerState, closed: (connection: Connection) => void): Connection {
  const { socket, applicationProtocol } = accepted;
  const { codec } = state.options.http;
  if (accepted.scheme === "https") state.stats.downstream_cx_ssl_total.inc();
  if (codec === "http2" || (codec === "auto" && applicationProtocol === "h2")) {
    state.stats.downstream_cx_total.inc();
    state.stats.downstream_cx_active.inc();
    state.stats.downstream_cx_http2_total.inc();
    return new Http2Connection(accepted, state, closed);
  }
  // A client that agreed on HTTP/1.1 keeps to it.
  if (codec === "http1" || applicationProtocol !== "") return new ServerConnection(socket, state, closed, accepted);
  const sniffing = new ServerConnection(socket, state, closed, accepted, () => {
    state.stats.downstream_cx_http2_total.inc();
    return new Http2Connection(accepted, state, () => closed(sniffing));
  });
  return sniffing;
}
