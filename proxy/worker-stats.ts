import type { Sample, ScopeGauges } from "./observe/stats-reader.ts";

/**
 * `listener.<address>.worker_<n>.downstream_cx_active`: how connections are spread.
 * https://www.envoyproxy.io/docs/envoy/latest/configuration/listeners/stats#per-handler-listener-stats
 */
export function* workerSamples(gauges: Iterable<ScopeGauges>): Generator<Sample> {
  for (const { worker, name, gauges: levels } of gauges) {
    yield {
      kind: "gauge",
      name: `listener.${name.replaceAll(":", "_")}.worker_${worker}.downstream_cx_active`,
      metric: "envoy_listener_worker_downstream_cx_active",
      tags: [
        ["envoy_worker_id", String(worker)],
        ["envoy_listener_address", name],
      ],
      value: levels.get("downstream_cx_active") ?? 0,
    };
  }
}
