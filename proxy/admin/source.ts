import type { ResourceType } from "#proto/resource-types.ts";

import type { Breakers } from "../cluster/cluster.ts";
import type { Sample } from "../observe/stats-reader.ts";
import type { Resource } from "../xds/graph.ts";
import type { RefusedVersion } from "../xds/configuration.ts";

/** Envoy's server states; see envoy.admin.v3.ServerInfo. */
export type ServerState = "LIVE" | "DRAINING" | "PRE_INITIALIZING";

/** An endpoint as all workers together see it. */
export interface EndpointStatus {
  readonly address: string;
  readonly port: number;
  readonly hostname: string;
  readonly weight: number;
  readonly priority: number;
  readonly healthy: boolean;
  readonly activeRequests: number;
}

/** A cluster as all workers together see it. */
export interface ClusterStatus {
  readonly name: string;
  /** What its statistics call it. */
  readonly statName: string;
  /** Limits hold in each worker by itself. */
  readonly breakers: Breakers;
  readonly highBreakers: Breakers;
  readonly endpoints: readonly EndpointStatus[];
}

/** Where the admin endpoint looks; main.ts joins it to the running parts. */
export interface AdminSource {
  readonly nodeId: string;
  readonly group: string;
  readonly version: string;
  /** How many worker threads there shall be. */
  readonly workers: number;
  readonly logLevel: string;
  readonly drainTimeMs: number;
  /** Ms of performance.now() at the start of the process. */
  readonly startedAt: number;
  state(): ServerState;
  /** Whether another process is about to take over, or this one is: what one of them is told now, the other would not know. */
  isHandingOver(): boolean;
  active(type: ResourceType): ReadonlyMap<string, Resource>;
  refused(type: ResourceType): ReadonlyMap<string, RefusedVersion>;
  /** Fails when a worker doesn't answer in time. */
  clusters(): Promise<readonly ClusterStatus[]>;
  /** All statistics as they are now, in no order. */
  samples(): Iterable<Sample>;
  /** Says whether this proxy is to be taken for unhealthy, and clients are to go elsewhere. */
  failHealth(failed: boolean): void;
  /** Closes the listeners and lets connections come to their end. */
  drainListeners(): void;
  /** Changes the number of worker threads. False: there can't be so many. */
  setWorkers(count: number): boolean;
  /** Has the files of access logs opened anew, after they were rotated. False: some of before may still be written to. */
  reopenLogs(): Promise<boolean>;
}
