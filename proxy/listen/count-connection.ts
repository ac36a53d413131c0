import type { Socket } from "node:net";

import type { DataPathStats } from "./context.ts";

/** Counts a connection under the address and port that it was made to (Envoy's `listener.<address>_<port>`), until it is closed. */
export function countConnection(socket: Socket, port: number, stats: DataPathStats): void {
  const address = socket.localAddress ?? "";
  const own = stats.address(`${address.startsWith("::ffff:") ? address.slice(7) : address}_${port}`);
  const openedAt = performance.now();
  own.downstream_cx_total.inc();
  own.downstream_cx_active.inc();
  socket.once("close", () => {
    own.downstream_cx_active.dec();
    own.downstream_cx_destroy.inc();
    own.downstream_cx_length_ms.record(performance.now() - openedAt);
  });
}
