import { type ResourceType, resourceType } from "#proto/resource-types.ts";

import type { ServerState } from "./admin/source.ts";
import type { Sample } from "./observe/stats-reader.ts";
import type { UpdateCounts } from "./xds/update-counts.ts";

/** What the main thread knows of itself, in Envoy's names where Envoy has them. */
export interface ServerFacts {
  readonly state: ServerState;
  readonly connected: boolean;
  readonly workers: number;
  /** Workers that serve a whole configuration. */
  readonly serving: number;
  readonly workerCrashes: number;
  readonly uptimeSeconds: number;
  readonly updates: UpdateCounts;
  /** Resources of a type that are in use, and that wait for others. */
  active(type: ResourceType): number;
  waiting(type: ResourceType): number;
}

/** Envoy's numbers of server states (server.state). */
const states: Readonly<Record<ServerState, number>> = { LIVE: 0, DRAINING: 1, PRE_INITIALIZING: 2 };

/**
 * https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/statistics (server.*, control_plane.*), and of the
 * managers of listeners and clusters.
 */
export function serverSamples(facts: ServerFacts): Sample[] {
  const memory = process.memoryUsage();
  const listeners = resourceType("LDS");
  const clusters = resourceType("CDS");
  return [
    sample("gauge", "server.live", facts.state === "LIVE" ? 1 : 0),
    sample("gauge", "server.state", states[facts.state]),
    sample("gauge", "server.concurrency", facts.workers),
    sample("gauge", "server.uptime", facts.uptimeSeconds),
    // The heaps of all threads are in the first two only as far as this thread's own.
    sample("gauge", "server.memory_allocated", memory.heapUsed + memory.external),
    sample("gauge", "server.memory_heap_size", memory.heapTotal),
    sample("gauge", "server.memory_physical_size", memory.rss),
    sample("counter", "server.worker_crashes", facts.workerCrashes),
    sample("gauge", "control_plane.connected_state", facts.connected ? 1 : 0),
    sample("gauge", "listener_manager.workers_started", facts.serving === facts.workers ? 1 : 0),
    sample("gauge", "listener_manager.total_listeners_active", facts.active(listeners)),
    sample("gauge", "listener_manager.total_listeners_warming", facts.waiting(listeners)),
    sample("gauge", "cluster_manager.active_clusters", facts.active(clusters)),
    sample("gauge", "cluster_manager.warming_clusters", facts.waiting(clusters)),
    ...updateSamples("listener_manager", "listener", "lds", facts.updates.of(listeners)),
    ...updateSamples("cluster_manager", "cluster", "cds", facts.updates.of(clusters)),
  ];
}

function updateSamples(manager: string, what: string, protocol: string, counts: ReturnType<UpdateCounts["of"]>) {
  return [
    sample("counter", `${manager}.${protocol}.update_attempt`, counts.accepted + counts.rejected),
    sample("counter", `${manager}.${protocol}.update_success`, counts.accepted),
    sample("counter", `${manager}.${protocol}.update_rejected`, counts.rejected),
    sample("counter", `${manager}.${what}_added`, counts.added),
    sample("counter", `${manager}.${what}_modified`, counts.modified),
    sample("counter", `${manager}.${what}_removed`, counts.removed),
  ];
}

const sample = (kind: "counter" | "gauge", name: string, value: number): Sample => ({
  kind,
  name,
  metric: `envoy_${name.replaceAll(".", "_")}`,
  tags: [],
  value,
});
