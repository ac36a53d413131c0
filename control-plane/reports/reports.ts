import type { Logger } from "pino";

import { servedType } from "#proto/resource-types.ts";

import type { MetricsRegistry } from "../observe/metrics.ts";
import type { ResourceCache } from "../xds/cache.ts";
import type { ConnectedClients } from "../xds/connected-clients.ts";
import type { JoinGuard } from "../xds/join.ts";
import type { PortService } from "../xds/port-service.ts";
import { accessLogService } from "./access-log-service.ts";
import type { OtherClients } from "./client-status.ts";
import { clientStatusService } from "./client-status-service.ts";
import { loadReportingService } from "./load-reporting-service.ts";
import { Loads } from "./loads.ts";
import { LogFile } from "./log-file.ts";

import { MemoryCounters } from "./rate-limit-counters.ts";
import { RateLimits, rateLimitService } from "./rate-limit-service.ts";

const CDS = servedType("CDS").typeUrl;

export interface ReportsOptions {
  readonly clients: ConnectedClients;
  readonly cache: ResourceCache;
  readonly join: JoinGuard;
  readonly metrics: MetricsRegistry;
  readonly log: Logger;
  /** Where data planes' access log entries go; "-" for standard output. */
  readonly accessLogFile: string;
  /** How often data planes report their load. Default: 10 s. */
  readonly loadReportIntervalMs?: number | undefined;
  /** Asks other control planes for their clients. Default: there are none. */
  readonly otherClients?: OtherClients;
}

/** What data planes report, and the services of the xDS port that take it. */
export interface Reports {
  readonly services: readonly PortService[];
  readonly loads: Loads;
  readonly rateLimits: RateLimits;
  /** Opens log files anew, after they were moved away. Resolves when nothing more will be written to those of before. */
  reopenLogs(): Promise<void>;
  /** Writes what waits to be written. */
  close(): Promise<void>;
}

/** Makes the services besides discovery. */
export function makeReports(options: ReportsOptions): Reports {
  const { clients, cache, join, metrics, log, accessLogFile, loadReportIntervalMs: intervalMs } = options;
  const loads = new Loads(metrics, (group, cluster) => cache.resources(group, CDS)?.has(cluster) === true);
  const file = new LogFile(accessLogFile, (error) =>
    log.error({ err: error, accessLogFile }, "access log entries are lost"),
  );
  const rateLimits = new RateLimits();
  const counters = new MemoryCounters();
  metrics.observe(
    { name: "sluice_rate_limit_counters", help: "Counters that the rate limit service keeps." },
    "gauge",
    () => counters.size,
  );
  metrics.observe(
    {
      name: "sluice_rate_limit_evicted_total",
      help: "Counters that were forgotten before their time, for want of room.",
    },
    "counter",
    () => counters.evicted,
  );
  return {
    loads,
    rateLimits,
    services: [
      clientStatusService(clients, join, options.otherClients),
      loadReportingService({ loads, cache, join, ...(intervalMs !== undefined && { intervalMs }) }),
      accessLogService({ file, join, metrics }),
      rateLimitService({ limits: rateLimits, counters, join, metrics }),
    ],
    reopenLogs: () => file.reopen(),
    close: () => file.close(),
  };
}
