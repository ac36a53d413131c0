import { replies } from "../reply.ts";
import type { Stream } from "./stream.ts";

/** Ends a stream that has idled or lasted too long, or has no response in time. Returns in how many ms to look again; Infinity: never. */
export function checkStreamTimes(stream: Stream, now: number): number {
  if (stream.ended) return Number.POSITIVE_INFINITY;
  if (stream.isOverdue(now)) {
    stream.onResponseOverdue();
    return Number.POSITIVE_INFINITY;
  }
  return Math.min(stream.responseDueAt - now, checkOwnTimes(stream, now));
}

function checkOwnTimes(stream: Stream, now: number): number {
  const { idleTimeoutMs, maxDurationMs, listener } = stream;
  let whole = maxDurationMs === 0 ? Number.POSITIVE_INFINITY : stream.record.startedAt + maxDurationMs - now;
  if (whole <= 0) {
    listener.stats.downstream_rq_max_duration_reached.inc();
    stream.reply(stream.requestDone ? replies.longResponse : replies.longRequest);
    return Number.POSITIVE_INFINITY;
  }
  if (stream.paces !== undefined) {
    whole = Math.min(whole, stream.paces.check(stream, now));
    if (stream.ended) return Number.POSITIVE_INFINITY;
  }
  if (idleTimeoutMs === 0) return whole;
  const left = stream.movedAt + idleTimeoutMs - now;
  if (left > 0) return Math.min(left, whole);
  listener.stats.downstream_rq_idle_timeout.inc();
  stream.reply(stream.requestDone ? replies.idleResponse : replies.idleRequest);
  return Number.POSITIVE_INFINITY;
}
