import type { LoadCase } from "./cases.ts";
import type { PeerPorts } from "./configs.ts";

/** What is loaded: its ports, and the process whose CPU time counts. */
export interface Target {
  readonly name: string;
  readonly ports: PeerPorts;
  readonly pid: number;
}

/** What a load generator counted. */
export interface Counted {
  /** Requests that were answered, all of them well. */
  readonly requests: number;
  readonly requestsPerSecond: number;
  /** NaN where the generator doesn't tell. */
  readonly p99Ms: number;
}

/** The port that a case goes to. */
export const portOf = ({ ports }: Target, { tls }: Pick<LoadCase, "tls">): number => ports[tls ?? "plain"];
