import { monitorEventLoopDelay } from "node:perf_hooks";

import type { MetricsRegistry } from "./metrics.ts";

/** How often the event loop's delay is sampled. */
const RESOLUTION_MS = 20;

/** Adds what every Prometheus client tells of its process, by the names that they all use. Returns how to stop measuring. */
export function addProcessMetrics(registry: MetricsRegistry, version: string): () => void {
  const startTimeSeconds = Date.now() / 1000 - process.uptime();
  registry
    .gauge({ name: "sluice_build_info", help: "The program; always 1.", labels: ["version", "node_version"] })
    .set(1, version, process.versions.node);
  registry.observe(
    { name: "process_cpu_seconds_total", help: "CPU time used, user and system." },
    "counter",
    () => process.cpuUsage().user / 1e6 + process.cpuUsage().system / 1e6,
  );
  registry.observe(
    { name: "process_resident_memory_bytes", help: "Memory in use as the system sees it." },
    "gauge",
    () => process.memoryUsage.rss(),
  );
  registry.observe(
    { name: "nodejs_heap_size_used_bytes", help: "Memory in use by JavaScript objects." },
    "gauge",
    () => process.memoryUsage().heapUsed,
  );
  registry.observe(
    { name: "process_start_time_seconds", help: "When the process started, in seconds since 1970." },
    "gauge",
    () => startTimeSeconds,
  );
  const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  delay.enable();
  registry.observe(
    { name: "nodejs_eventloop_lag_p99_seconds", help: "The event loop's delay since the start, 99th percentile." },
    "gauge",
    () => delay.percentile(99) / 1e9,
  );
  return () => delay.disable();
}
