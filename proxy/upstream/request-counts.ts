import type { Endpoint } from "../cluster/cluster.ts";
import type { Stream } from "../filters/stream.ts";
import type { Headers } from "../headers.ts";
import { now } from "../listen/clock.ts";
import type { ClusterContext } from "./cluster-context.ts";

/** A request is under way; countEnd() is to follow. */
export function countStart({ stats, load, isHigh }: ClusterContext): void {
  load.requests++;
  stats.upstream_rq_active.inc();
  if (isHigh) stats["high.rq_active"].inc();
}

/** An endpoint answered, and is not asked again. Returns whether it is a canary: by its metadata, or as it says itself. */
export function countAnswer(
  { stats, byClass }: ClusterContext,
  stream: Stream,
  endpoint: Endpoint | undefined,
  status: number,
  headers: Headers,
): boolean {
  stats.upstream_rq_completed.inc();
  stats.status(status);
  byClass[Math.floor(status / 100)]?.inc();
  if (isInternal(stream)) stats.statusOf("internal", status);
  const isCanary = endpoint?.canary === true || headers.get("x-envoy-upstream-canary") === "true";
  if (isCanary) stats.statusOf("canary", status);
  return isCanary;
}

/** A request is over. */
export function countEnd({ stats, load, isHigh }: ClusterContext, stream: Stream, isCanary: boolean): void {
  load.requests--;
  stats.upstream_rq_active.dec();
  if (isHigh) stats["high.rq_active"].dec();
  const timeMs = now() - stream.record.startedAt;
  stats.upstream_rq_time.record(timeMs);
  if (isInternal(stream)) stats.timeOf("internal", timeMs);
  if (isCanary) stats.timeOf("canary", timeMs);
}

/** Whether the client is an internal one, where the listener tells them apart; only then is the field our own. */
const isInternal = ({ options, head }: Stream): boolean =>
  options.identity?.isInternal !== undefined && head.headers.has("x-envoy-internal");
