import type { Sample } from "./observe/stats-reader.ts";

/** What the main thread knows of itself, in Envoy's names where Envoy has them. */
export interface ServerFacts {
  readonly live: boolean;
  readonly connected: boolean;
  readonly workers: number;
  readonly workerCrashes: number;
  readonly uptimeSeconds: number;
}

/** https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/statistics (server.*, control_plane.*). */
export function serverSamples(facts: ServerFacts): Sample[] {
  return [
    sample("gauge", "server.live", facts.live ? 1 : 0),
    sample("gauge", "server.concurrency", facts.workers),
    sample("gauge", "server.uptime", facts.uptimeSeconds),
    sample("counter", "server.worker_crashes", facts.workerCrashes),
    sample("gauge", "control_plane.connected_state", facts.connected ? 1 : 0),
  ];
}

const sample = (kind: "counter" | "gauge", name: string, value: number): Sample => ({
  kind,
  name,
  metric: `envoy_${name.replaceAll(".", "_")}`,
  tags: [],
  value,
});
