import type { AddressStats } from "./context.ts";
import type { Handshake } from "./tls-server.ts";

/** The counters of handshakes that failed, as Envoy tells them apart. */
export type HandshakeFailure = keyof AddressStats &
  (
    | "downstream_cx_transport_socket_connect_timeout"
    | "server_ssl_socket_factory.downstream_context_secrets_not_ready"
    | "ssl.connection_error"
    | `ssl.fail_verify_${string}`
  );

/** Counts a handshake under Envoy's names (`listener.<address>.ssl.*`). A client that just goes away is nobody's failure, there as here. */
export function countHandshake(handshake: Handshake, stats: AddressStats): void {
  if (!handshake.ok) {
    if (handshake.failure !== undefined) stats[handshake.failure].inc();
    return;
  }
  stats["ssl.handshake"].inc();
  if (handshake.socket.isSessionReused()) stats["ssl.session_reused"].inc();
  if (handshake.socket.getPeerX509Certificate() === undefined) stats["ssl.no_certificate"].inc();
}

/** What Node's error of a handshake counts as; undefined: the client has gone. */
export function failureOf({ code }: NodeJS.ErrnoException): HandshakeFailure | undefined {
  if (code === "ERR_TLS_HANDSHAKE_TIMEOUT") return "downstream_cx_transport_socket_connect_timeout";
  return code === "ECONNRESET" || code === "EPIPE" ? undefined : "ssl.connection_error";
}
