import { isIPv6 } from "node:net";
import { availableParallelism } from "node:os";

import type { Handover } from "./handover.ts";
import type { XdsSecurity } from "./xds/security.ts";

/** How a proxy is started. */
export interface ProxyOptions {
  /**
   * "host:port" of the control plane's xDS server. Without one the proxy serves what it kept on disk. A promise where the control plane
   * is being started too: until it resolves, the proxy gets everything else ready.
   */
  readonly xdsAddress?: string | Promise<string> | undefined;
  /** How the control plane lets this proxy in. Default: plain text, and no token. */
  readonly xdsSecurity?: XdsSecurity | undefined;
  /** Becomes `node.cluster`: the gateway group whose configuration this proxy gets. */
  readonly gatewayGroup: string;
  /** Becomes `node.id`. */
  readonly nodeId: string;
  /** "host:port" of the admin endpoint; port 0 takes a free one. A loopback address, unless `insecure`. */
  readonly adminAddress: string;
  /** Worker threads; default: one per core, at most 8. */
  readonly workers?: number | undefined;
  /** Client connections at most, in all workers together; those above are closed at once. Default: any number. */
  readonly maxConnections?: number | undefined;
  /** Where the last good configuration is kept; without it nothing is. */
  readonly dataDirectory?: string | undefined;
  /** How long connections may take to end when the proxy stops, or a worker in which something was thrown; default 10 s. */
  readonly drainTimeMs?: number | undefined;
  /** Of this program, told to the control plane. */
  readonly version: string;
  /** Lets the admin endpoint, which has no authentication, stand on an address that others can reach. */
  readonly insecure?: boolean | undefined;
  /** What the process before this one handed over (hot restart). */
  readonly handover?: Handover | undefined;
  /** pino's levels; default: the environment's SLUICE_LOG_LEVEL, else "info". */
  readonly logLevel?: string | undefined;
}

/** A proxy that can't start as it was told to; the message is for the person who told it. */
export class StartError extends Error {
  override readonly name = "StartError";
}

/** Worker threads that there can be. */
export const WORKERS_MAX = 256;
const WORKERS_DEFAULT_MAX = 8;
const DRAIN_MS_DEFAULT = 10_000;

/** How long connections of a listener, a filter chain or a worker that is no longer wanted may go on: nobody waits for them. As Envoy's --drain-time-s. */
export const CHANGE_DRAIN_MS = 600_000;
const levels = ["fatal", "error", "warn", "info", "debug", "trace", "silent"];

/** Whether there can be so many workers. */
export const isWorkerCount = (count: number): boolean => Number.isInteger(count) && count >= 1 && count <= WORKERS_MAX;

/** The options with defaults filled in, checked. */
export interface CheckedOptions {
  readonly admin: { readonly host: string; readonly port: number };
  readonly workers: number;
  readonly drainTimeMs: number;
  readonly logLevel: string;
}

/** Checks what can be checked before anything is started. Throws StartError. */
export function checkOptions(options: ProxyOptions, isLoopback: (host: string) => boolean): CheckedOptions {
  const admin = parseAddress("the admin address", options.adminAddress, 0);
  if (!isLoopback(admin.host) && options.insecure !== true) {
    throw new StartError(
      `the admin endpoint has no authentication and may stand on a loopback address only, not on ${options.adminAddress}; ` +
        "--insecure allows it",
    );
  }
  if (typeof options.xdsAddress === "string") parseAddress("the xDS address", options.xdsAddress, 1);
  const workers = options.workers ?? Math.min(WORKERS_DEFAULT_MAX, availableParallelism());
  if (!isWorkerCount(workers)) {
    throw new StartError(`the number of workers must be between 1 and ${WORKERS_MAX}, not ${options.workers}`);
  }
  const drainTimeMs = options.drainTimeMs ?? DRAIN_MS_DEFAULT;
  if (!(drainTimeMs >= 0 && drainTimeMs <= 3_600_000)) {
    throw new StartError(`the drain time must be between 0 and 1 hour, not ${options.drainTimeMs} ms`);
  }
  const logLevel = options.logLevel ?? (process.env["SLUICE_LOG_LEVEL"] || "info");
  if (!levels.includes(logLevel)) throw new StartError(`the log level must be one of ${levels.join(", ")}`);
  return { admin, workers, drainTimeMs, logLevel };
}

/** Reads "host:port", IPv6 in brackets. */
function parseAddress(what: string, address: string, portMin: number): { host: string; port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(address);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || (match?.[1] !== undefined && !isIPv6(host)) || !(port >= portMin && port <= 65_535)) {
    throw new StartError(`${what} must be HOST:PORT, not ${JSON.stringify(address)}`);
  }
  return { host, port };
}
