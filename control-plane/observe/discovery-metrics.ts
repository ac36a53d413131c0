import type { MetricsRegistry } from "./metrics.ts";

/** What the metrics read of each watched registry, whenever somebody looks. */
interface WatchedRegistry {
  readonly gatewayGroup: string;
  readonly registry: { readonly name: string };
  readonly supervisor: {
    readonly outage: unknown;
    readonly lastAnswerMs: number | undefined;
    reports(): Iterable<{ readonly state: string; readonly counts: Counts; readonly served: Served | undefined }>;
  };
}

interface Served {
  readonly endpointCount: number;
}

interface Counts {
  readonly events: number;
  readonly changes: number;
  readonly failures: number;
}

const labels = ["gateway_group", "registry"] as const;

/**
 * Adds the metrics of discovery, by registry: whether it answers, how many services are in which state, and what it said of them.
 * @param countNoneChosen how many upstreams take none of a registry's endpoints
 */
export function discoveryMetrics<Registry extends WatchedRegistry>(
  metrics: MetricsRegistry,
  registries: () => Iterable<Registry>,
  countNoneChosen: (registry: Registry) => number,
): void {
  const each = (name: string, help: string, read: (registry: Registry) => number | undefined) =>
    metrics.observeEach({ name, help, labels }, function* () {
      for (const registry of registries()) {
        const value = read(registry);
        if (value !== undefined) yield { labels: labelsOf(registry), value };
      }
    });
  const sum =
    (pick: (counts: Counts) => number) =>
    ({ supervisor }: WatchedRegistry) =>
      [...supervisor.reports()].reduce((total, { counts }) => total + pick(counts), 0);

  each("sluice_discovery_registry_up", "Whether the registry answers: 1, or 0 while it fails.", ({ supervisor }) =>
    supervisor.outage === undefined ? 1 : 0,
  );
  each(
    "sluice_discovery_registry_last_answer_time_seconds",
    "When the registry last answered, in seconds since 1970.",
    ({ supervisor: { lastAnswerMs } }) => (lastAnswerMs === undefined ? undefined : lastAnswerMs / 1000),
  );
  const services = "Services that are watched, by what their endpoints are worth now.";
  metrics.observeEach(
    { name: "sluice_discovery_services", help: services, labels: [...labels, "state"] },
    function* () {
      for (const registry of registries()) {
        const byState = Map.groupBy(registry.supervisor.reports(), ({ state }) => state);
        for (const [state, all] of byState) yield { labels: [...labelsOf(registry), state], value: all.length };
      }
    },
  );
  each("sluice_discovery_endpoints", "Endpoints that are served of the watched services.", ({ supervisor }) =>
    [...supervisor.reports()].reduce((total, { served }) => total + (served?.endpointCount ?? 0), 0),
  );
  each(
    "sluice_discovery_upstreams_none_chosen",
    "Upstreams that take none of the endpoints that their service has, by tags, metadata, zones, port or health.",
    countNoneChosen,
  );
  // Gauges, since a service that is no longer watched takes its numbers with it.
  each(
    "sluice_discovery_events",
    "Answers of the registry for the services watched now.",
    sum(({ events }) => events),
  );
  each(
    "sluice_discovery_changes",
    "Of those, the ones that changed endpoints.",
    sum(({ changes }) => changes),
  );
  each(
    "sluice_discovery_failures",
    "Failures of watches of the services watched now.",
    sum(({ failures }) => failures),
  );
}

const labelsOf = ({ gatewayGroup, registry }: WatchedRegistry) => [gatewayGroup, registry.name];
