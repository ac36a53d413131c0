import { now } from "../listen/clock.ts";
import type { StreamState } from "./stream-state.ts";

/** Counts a stream that has just ended, ends its trace and writes its lines in the access logs; once for each. */
export function reportEnd(stream: StreamState): void {
  const { record, listener, options } = stream;
  const { stats } = listener;
  record.endAt = now();
  stats.downstream_rq_active.dec();
  stats.downstream_rq_completed.inc();
  listener.byClass[Math.floor(record.status / 100)]?.inc();
  stats.downstream_rq_time.record(record.endAt - record.startedAt);
  if (stream.upgraded) stats.downstream_cx_upgrades_active.dec();
  record.trace?.finish(record);
  for (const log of options.accessLogs) log.write(record);
}
