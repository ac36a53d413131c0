import type { Socket } from "node:net";

import type { AddressStats, DataPathStats } from "./context.ts";

/** The statistics of the address and port that a connection was made to; `port`: if the socket does not know any more. */
export function addressStatsOf(socket: Socket, port: number, stats: DataPathStats): AddressStats {
  const address = socket.localAddress ?? "";
  return stats.address(`${address.startsWith("::ffff:") ? address.slice(7) : address}_${socket.localPort ?? port}`);
}

/** Counts a connection under the address and port that it was made to (Envoy's `listener.<address>_<port>`), until it is closed. */
export function countConnection(socket: Socket, own: AddressStats): void {
  const openedAt = performance.now();
  own.downstream_cx_total.inc();
  own.downstream_cx_active.inc();
  socket.once("close", () => {
    own.downstream_cx_active.dec();
    own.downstream_cx_destroy.inc();
    own.downstream_cx_length_ms.record(performance.now() - openedAt);
  });
}
