import { AccessLogService, type StreamAccessLogsMessage } from "#envoy/service/accesslog/v3/als_pb.ts";

import type { MetricsRegistry } from "../observe/metrics.ts";
import type { JoinGuard } from "../xds/join.ts";
import { defaultLimits } from "../xds/limits.ts";
import { type PortService, PortStreams } from "../xds/port-service.ts";
import { httpLine, type LogSource, tcpLine } from "./access-log-line.ts";
import type { LogFile } from "./log-file.ts";
import { NodeStreams } from "./node-streams.ts";

/** Of a log's name, in UTF-16 units. */
const LOG_NAME_LENGTH_MAX = 256;

export interface AccessLogOptions {
  readonly file: LogFile;
  readonly join: JoinGuard;
  readonly metrics: MetricsRegistry;
}

/** The access log service (ALS) of the xDS port: each entry becomes a line of JSON; nothing is ever answered (L3). */
export function accessLogService({ file, join, metrics }: AccessLogOptions): PortService {
  const nodes = new NodeStreams(join);
  const entries = metrics.counter({
    name: "sluice_access_log_entries_total",
    help: "Access log entries that data planes sent, by kind: http or tcp.",
    labels: ["kind"],
  });
  metrics.observe(
    { name: "sluice_access_log_dropped_total", help: "Access log entries that could not be written in time." },
    "counter",
    () => file.dropped,
  );

  const write = (source: LogSource, { logEntries }: StreamAccessLogsMessage) => {
    if (logEntries.case === undefined) return;
    entries.add(logEntries.value.logEntry.length, logEntries.case === "httpLogs" ? "http" : "tcp");
    if (logEntries.case === "httpLogs") {
      for (const entry of logEntries.value.logEntry) file.write(httpLine(source, entry));
    } else {
      for (const entry of logEntries.value.logEntry) file.write(tcpLine(source, entry));
    }
  };

  const streams = new PortStreams(AccessLogService.method.streamAccessLogs, defaultLimits.streamsMax, (call) => {
    let source: LogSource | undefined;
    nodes.enter(call);
    return {
      message(message) {
        const { identifier } = message;
        const identity = nodes.identify(call, identifier?.node);
        if (identity === undefined) return;
        // Only the first message says it.
        source ??= {
          gateway_group: identity.gatewayGroup,
          node_id: identity.id,
          log_name: (identifier?.logName ?? "").slice(0, LOG_NAME_LENGTH_MAX),
        };
        write(source, message);
      },
      halfClosed() {
        call.send({});
        call.end();
      },
      gone: () => nodes.leave(call),
    };
  });

  return {
    service: AccessLogService,
    methods: [streams],
    close() {
      nodes.close();
      streams.close();
    },
  };
}
