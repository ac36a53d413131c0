import type { Socket } from "node:net";

import type { Peer } from "../filters/record.ts";
import { ServerConnection } from "../http1/server-connection.ts";
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

/** Begins to serve a connection by the codec that fits. */
export function serve(accepted: Accepted, state: ListenerState, closed: (connection: Connection) => void): Connection {
  return new ServerConnection(accepted.socket, state, closed, accepted);
}
