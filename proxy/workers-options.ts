import type { Logger } from "pino";

import type { ListeningSocket } from "./listen/listening-sockets.ts";
import type { ControlPlaneAccess } from "./observe/export/control-plane.ts";
import type { StatsReader } from "./observe/stats-reader.ts";
import type { ResourceUpdate } from "./xds/graph.ts";

/** What workers are started with. */
export interface WorkersOptions {
  readonly count: number;
  readonly drainTimeMs: number;
  /** Open connections of all workers together at most; undefined: any number. */
  readonly connectionsMax?: number | undefined;
  /** The proxy's node id and gateway group. */
  readonly node: { readonly id: string; readonly cluster: string };
  /** What collectors that are the control plane are reached by, once there is a configuration; undefined: there is no control plane. */
  readonly controlPlane: () => ControlPlaneAccess | undefined;
  readonly log: Pick<Logger, "info" | "warn" | "error">;
  /** Everything that a new worker needs to start from. */
  readonly current: () => readonly ResourceUpdate[];
  /** Called after each change of Workers.serving and Workers.upToDate. */
  readonly changed: () => void;
  /** Where the workers' statistics are summed up. */
  readonly stats: StatsReader;
  /** What a former process left; undefined: there was none. */
  readonly inherited?: Inheritance | undefined;
}

/** What the workers of a process leave to those of the next one. */
export interface Inheritance {
  readonly sockets: readonly ListeningSocket[];
  /** Of session tickets. Secret. */
  readonly ticketKey: Uint8Array;
  /** How many workers there shall be. */
  readonly workers: number;
  /** Whether the proxy was told to fail health checks. */
  readonly healthFailed: boolean;
}
