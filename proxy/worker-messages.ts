import type { ClusterStatus } from "./admin/source.ts";
import type { ListeningSocket } from "./listen/listening-sockets.ts";
import type { ControlPlaneAccess } from "./observe/export/control-plane.ts";
import type { StatsMessage } from "./observe/stats-layout.ts";
import type { PackedUpdates } from "./packed-updates.ts";

/** What a worker thread is started with. */
export interface WorkerSettings {
  /** How long connections of a listener that was removed or has moved may take to end, in ms. */
  readonly drainTimeMs: number;
  /** This worker's place among the workers: nobody else has it as long as this one lives. */
  readonly place: number;
  /** Where open connections are counted (listen/connection-counts.ts). */
  readonly connections: SharedArrayBuffer;
  /** The same against the limits of listeners and filter chains (listen/keyed-counts.ts). */
  readonly limits: SharedArrayBuffer;
  /** The same by client. */
  readonly addresses: SharedArrayBuffer;
  /** Open connections of all workers together at most; 0: any number. */
  readonly connectionsMax: number;
  /** The key for TLS session tickets. Secret. */
  readonly ticketKey: Uint8Array;
  /** Open listening sockets of a former process, which nobody else of this one has. */
  readonly inherited: readonly ListeningSocket[];
  /** How collectors of logs and traces are told who we are: node id and gateway group. */
  readonly node: { readonly id: string; readonly cluster: string };
}

/** From the main thread to a worker. */
export type ToWorker =
  /**
   * Change the configuration; answered by `applied` once new listeners are open. Whole graphs only, in order. `controlPlane` comes with the first
   * one, if there is any: its address may not be known before.
   */
  | {
      readonly kind: "apply";
      readonly sequence: number;
      readonly updates: PackedUpdates;
      readonly controlPlane?: ControlPlaneAccess | undefined;
    }
  /** Answered by `clusters`. */
  | { readonly kind: "list-clusters"; readonly id: number }
  /** Make session tickets with this key from now on. */
  | { readonly kind: "ticket-key"; readonly key: Uint8Array }
  /** Answered by `sockets`, once all changes sent before are carried out. */
  | { readonly kind: "list-sockets"; readonly id: number }
  /**
   * Listen as well on sockets that another worker is about to close, and that may hold connections; those of listeners that are not open yet are kept
   * for them. Answered by `adopted`.
   */
  | { readonly kind: "adopt"; readonly id: number; readonly sockets: readonly ListeningSocket[] }
  /** Close the inherited sockets that no listener took: there are no more listeners to come. */
  | { readonly kind: "close-unclaimed" }
  /** Whether clients are to be sent elsewhere. */
  | { readonly kind: "health"; readonly failed: boolean }
  /** Open the access logs' files anew, after a rotation; answered by `reopened` when nothing more will be written to those of before. */
  | { readonly kind: "reopen-logs"; readonly id: number }
  /** Close the listeners, let connections end within so many ms; answered by `drained`. */
  | { readonly kind: "drain"; readonly timeMs: number };

/** From a worker to the main thread. */
export type FromWorker =
  /** `listening`: false if there are listeners to open and not one of them could be. */
  | { readonly kind: "applied"; readonly sequence: number; readonly listening: boolean }
  | { readonly kind: "clusters"; readonly id: number; readonly clusters: readonly ClusterStatus[] }
  | { readonly kind: "reopened"; readonly id: number }
  /** The open listening sockets. */
  | { readonly kind: "sockets"; readonly id: number; readonly sockets: readonly ListeningSocket[] }
  /** `problem`: why the sockets could not be taken over. */
  | { readonly kind: "adopted"; readonly id: number; readonly problem?: string }
  /** Something was thrown that nobody caught. The worker goes on until it is told to drain, with whatever that did to it. */
  | { readonly kind: "crashed"; readonly message: string; readonly stack: string | undefined }
  /** A listener could not be opened; the text names it and says why. */
  | { readonly kind: "listener-failed"; readonly name: string; readonly reason: string }
  | { readonly kind: "drained" }
  /** Statistics that are new, and where they can be read. */
  | StatsMessage;
