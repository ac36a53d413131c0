import type { MetricsRegistry } from "./metrics.ts";

/** What the metrics read of each watched registry, whenever somebody looks. */
interface WatchedRegistry {
  readonly supervisor: {
    readonly outage: unknown;
    reports(): Iterable<{ readonly state: string; readonly counts: Counts }>;
  };
}

interface Counts {
  readonly events: number;
  readonly changes: number;
  readonly failures: number;
}

/** Adds the metrics of discovery: how many services are in which state, and what registries said. */
export function discoveryMetrics(metrics: MetricsRegistry, registries: () => Iterable<WatchedRegistry>): void {
  const observe = (name: string, help: string, read: () => number) => metrics.observe({ name, help }, "gauge", read);
  const all = () => [...registries()].flatMap(({ supervisor }) => [...supervisor.reports()]);
  const sum = (pick: (counts: Counts) => number) => all().reduce((total, { counts }) => total + pick(counts), 0);
  observe("sluice_discovery_registries", "Registries that are watched.", () => [...registries()].length);
  observe(
    "sluice_discovery_registries_failing",
    "Registries that don't answer now.",
    () => [...registries()].filter(({ supervisor }) => supervisor.outage !== undefined).length,
  );
  observe("sluice_discovery_services", "Services that are watched.", () => all().length);
  observe(
    "sluice_discovery_services_not_fresh",
    "Watched services whose endpoints are not what the registry says now: stale, held, denied, unknown, failing or waiting.",
    () => all().filter(({ state }) => state !== "fresh").length,
  );
  // Gauges, since a service that is no longer watched takes its numbers with it.
  observe("sluice_discovery_events", "Answers of registries for the services watched now.", () =>
    sum((each) => each.events),
  );
  observe("sluice_discovery_changes", "Of those, the ones that changed endpoints.", () => sum((each) => each.changes));
  observe("sluice_discovery_failures", "Failures of watches of the services watched now.", () =>
    sum((each) => each.failures),
  );
}
