import type { handleClientStreamingCall } from "@grpc/grpc-js";
import type { Logger } from "pino";

import {
  AccessLogService,
  type StreamAccessLogsMessage,
  type StreamAccessLogsResponse,
  StreamAccessLogsResponseSchema,
} from "#envoy/service/accesslog/v3/als_pb.ts";
import { create } from "@bufbuild/protobuf";

import type { MetricsRegistry } from "../observe/metrics.ts";
import type { JoinGuard } from "../xds/join.ts";
import type { PortService } from "../xds/port-service.ts";
import { httpLine, type LogSource, tcpLine } from "./access-log-line.ts";
import type { LogFile } from "./log-file.ts";
import { NodeStreams } from "./node-streams.ts";

/** Of a log's name, in UTF-16 units. */
const LOG_NAME_LENGTH_MAX = 256;

export interface AccessLogOptions {
  readonly file: LogFile;
  readonly join: JoinGuard;
  readonly metrics: MetricsRegistry;
  readonly log: Logger;
}

/** The access log service (ALS) of the xDS port: each entry becomes a line of JSON; nothing is ever answered (L3). */
export function accessLogService({ file, join, metrics, log }: AccessLogOptions): PortService {
  const streams = new NodeStreams("access log", join, log);
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

  const streamAccessLogs: handleClientStreamingCall<StreamAccessLogsMessage, StreamAccessLogsResponse> = (
    call,
    respond,
  ) => {
    if (!streams.enter(call, (refusal) => respond({ ...refusal }))) return;
    let source: LogSource | undefined;
    call.on("data", ({ identifier, logEntries }: StreamAccessLogsMessage) => {
      void streams.calls.guard(call, () => {
        const identity = streams.identify(call, identifier?.node);
        if (identity === undefined) return;
        // Only the first message says it.
        source ??= {
          gateway_group: identity.gatewayGroup,
          node_id: identity.id,
          log_name: (identifier?.logName ?? "").slice(0, LOG_NAME_LENGTH_MAX),
        };
        if (logEntries.case === undefined) return;
        entries.add(logEntries.value.logEntry.length, logEntries.case === "httpLogs" ? "http" : "tcp");
        if (logEntries.case === "httpLogs") {
          for (const entry of logEntries.value.logEntry) file.write(httpLine(source, entry));
        } else {
          for (const entry of logEntries.value.logEntry) file.write(tcpLine(source, entry));
        }
      });
    });
    call.on("end", () => respond(null, create(StreamAccessLogsResponseSchema)));
  };

  return { service: AccessLogService, handlers: { streamAccessLogs }, close: () => streams.close() };
}
