import type { MetricsRegistry } from "./metrics.ts";

/** Adds the store's metrics. Returns what the store and its owner tell them by. */
export function storeMetrics(metrics: MetricsRegistry) {
  const seconds = metrics.histogram({
    name: "sluice_store_write_duration_seconds",
    help: "How long transactions took, from their turn to their being on disk.",
  });
  return {
    /** To be called after each transaction. */
    wrote: (durationMs: number) => seconds.observe(durationMs / 1000),
    /** Shows the store's newest revision. */
    showRevision: (read: () => number) =>
      metrics.observe({ name: "sluice_store_revision", help: "Of the newest transaction." }, "gauge", read),
  };
}
