import type { MetricsRegistry } from "./metrics.ts";

/** What one refresh of the xDS cache did. */
interface RefreshReport {
  readonly revision: bigint;
  readonly objects: number;
  readonly failures: number;
  readonly durationMs: number;
}

/** Adds the metrics of the way from the store to the xDS cache. Returns what to call after each refresh. */
export function refreshMetrics(metrics: MetricsRegistry): (report: RefreshReport) => void {
  const revision = metrics.gauge({
    name: "sluice_xds_revision",
    help: "The store's revision that data planes are served.",
  });
  const objects = metrics.counter({ name: "sluice_refresh_objects_total", help: "Objects that were translated." });
  const failures = metrics.counter({
    name: "sluice_refresh_failures_total",
    help: "Objects that could not be translated.",
  });
  const seconds = metrics.histogram({ name: "sluice_refresh_duration_seconds", help: "How long translations took." });
  return (report) => {
    revision.set(Number(report.revision));
    objects.add(report.objects);
    failures.add(report.failures);
    seconds.observe(report.durationMs / 1000);
  };
}
