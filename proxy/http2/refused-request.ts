import type { Peer } from "../filters/record.ts";
import { reportEnd } from "../filters/stream-end.ts";
import { StreamState } from "../filters/stream-state.ts";
import { now } from "../listen/clock.ts";
import type { ListenerState } from "../listen/state.ts";
import type { Abort } from "./abort.ts";

/** A request that never was one. */
class RefusedRequest extends StreamState {
  override wakeWithin(): void {}
}

/** Counts and logs a request whose head was refused, as Envoy does; its client gets no answer but RST_STREAM. */
export function reportRefused(
  listener: ListenerState,
  peer: Peer,
  scheme: "http" | "https",
  { flag, details }: Abort,
): void {
  const request = new RefusedRequest(listener, peer, now(), scheme);
  request.record.protocol = "HTTP/2";
  request.record.details = details;
  request.addFlag(flag);
  listener.stats.downstream_rq_rx_reset.inc();
  reportEnd(request);
}
