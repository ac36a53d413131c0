import type { MetricsRegistry } from "../observe/metrics.ts";
import type { RefusedResource } from "./blame.ts";
import type { RolloutRecord } from "./record.ts";

/** What rollouts count. */
export interface RolloutMetrics {
  /** A rollout is over. */
  ended(record: RolloutRecord): void;
  /** A data plane refused resources. */
  refused(resources: readonly RefusedResource[]): void;
}

/** Adds the metrics of rollouts to the control plane's. */
export function rolloutMetrics(metrics: MetricsRegistry): RolloutMetrics {
  const rollouts = metrics.counter({
    name: "sluice_rollouts_total",
    help: "Rollouts of revisions to gateway groups that are over, by how they ended: complete, refused or held_back.",
    labels: ["result"],
  });
  const seconds = metrics.histogram({
    name: "sluice_rollout_duration_seconds",
    help: "From the translation of a revision until every data plane that it concerns has accepted it; without those that concern none.",
  });
  const refusals = metrics.counter({
    name: "sluice_refused_objects_total",
    help: "Objects of which data planes refused something, by kind.",
    labels: ["kind"],
  });
  return {
    ended(record) {
      rollouts.add(1, record.state);
      const { endMs, startMs } = record;
      const concerned = record.counts().accepted > 0;
      if (record.state === "complete" && endMs !== undefined && concerned) seconds.observe((endMs - startMs) / 1000);
    },
    refused(resources) {
      for (const { objects } of resources) {
        for (const { kind } of objects) refusals.add(1, kind);
        if (objects.length === 0) refusals.add(1, "unknown");
      }
    },
  };
}
