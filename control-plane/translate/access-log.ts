import { create } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";

import {
  type AccessLog as EnvoyAccessLog,
  type AccessLogFilter,
  AccessLogSchema,
  ComparisonFilter_Op,
} from "#envoy/config/accesslog/v3/accesslog_pb.ts";
import { ApiVersion } from "#envoy/config/core/v3/config_source_pb.ts";
import { DataSourceSchema } from "#envoy/config/core/v3/base_pb.ts";
import {
  type SubstitutionFormatString,
  SubstitutionFormatStringSchema,
} from "#envoy/config/core/v3/substitution_format_string_pb.ts";
import { FileAccessLogSchema } from "#envoy/extensions/access_loggers/file/v3/file_pb.ts";
import { HttpGrpcAccessLogConfigSchema } from "#envoy/extensions/access_loggers/grpc/v3/als_pb.ts";
import { StdoutAccessLogSchema } from "#envoy/extensions/access_loggers/stream/v3/stream_pb.ts";
import type { AccessLog } from "#sluice/model/v1/gateway_group_pb.ts";

import { extension } from "./any.ts";
import { collectorService } from "./collectors.ts";
import { durationFilter, joined, statusFilter } from "./log-filters.ts";

const STDOUT = "/dev/stdout";

/** One line of the access log, in Envoy's command operators; the native proxy reads the same ones. */
const fields = {
  start_time: "%START_TIME%",
  method: "%REQ(:METHOD)%",
  // Before a rewrite, as the client sent it.
  path: "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
  protocol: "%PROTOCOL%",
  status: "%RESPONSE_CODE%",
  flags: "%RESPONSE_FLAGS%",
  details: "%RESPONSE_CODE_DETAILS%",
  bytes_received: "%BYTES_RECEIVED%",
  bytes_sent: "%BYTES_SENT%",
  duration_ms: "%DURATION%",
  upstream_host: "%UPSTREAM_HOST%",
  upstream_cluster: "%UPSTREAM_CLUSTER%",
  route: "%ROUTE_NAME%",
  authority: "%REQ(:AUTHORITY)%",
  request_id: "%REQ(X-REQUEST-ID)%",
  client: "%DOWNSTREAM_REMOTE_ADDRESS%",
  user_agent: "%REQ(USER-AGENT)%",
} as const;

/** The access logs of a group's listeners: to a collector, as lines, or both; none where it is switched off. */
export function toAccessLogs(accessLog: AccessLog | undefined): EnvoyAccessLog[] {
  if (accessLog?.disabled) return [];
  const filter = filterOf(accessLog);
  const loggers = [
    ...(accessLog?.collector ? [toGrpcLogger(accessLog.collector, accessLog.logName)] : []),
    ...(accessLog?.collector && accessLog.path === "" ? [] : [toLineLogger(accessLog)]),
  ];
  return loggers.map((logger) => create(AccessLogSchema, { ...logger, filter }));
}

function toGrpcLogger(collector: string, logName: string) {
  const commonConfig = {
    logName: logName || "sluice",
    grpcService: collectorService(collector),
    transportApiVersion: ApiVersion.V3,
  };
  const config = create(HttpGrpcAccessLogConfigSchema, { commonConfig });
  return extension("envoy.access_loggers.http_grpc", HttpGrpcAccessLogConfigSchema, config);
}

function toLineLogger(accessLog: AccessLog | undefined) {
  const accessLogFormat = {
    case: "logFormat",
    value: create(SubstitutionFormatStringSchema, { format: formatOf(accessLog) }),
  } as const;
  const path = accessLog?.path || STDOUT;
  // Not a file of that name: it can't be opened where standard output is a socket, as under systemd.
  if (path === STDOUT) {
    const config = create(StdoutAccessLogSchema, { accessLogFormat });
    return extension("envoy.access_loggers.stdout", StdoutAccessLogSchema, config);
  }
  const config = create(FileAccessLogSchema, { path, accessLogFormat });
  return extension("envoy.access_loggers.file", FileAccessLogSchema, config);
}

function formatOf(accessLog: AccessLog | undefined): SubstitutionFormatString["format"] {
  if (accessLog?.text) {
    const line = create(DataSourceSchema, { specifier: { case: "inlineString", value: `${accessLog.text}\n` } });
    return { case: "textFormatSource", value: line };
  }
  const own = Object.entries(accessLog?.fields ?? {});
  return { case: "jsonFormat", value: own.length > 0 ? Object.fromEntries(own) : fields };
}

/** Slow requests are worth a line as well as failed ones. */
function filterOf(accessLog: AccessLog | undefined): AccessLogFilter | undefined {
  const duration = accessLog?.minDuration;
  return joined("orFilter", [
    ...(accessLog?.minStatus ? [statusFilter(ComparisonFilter_Op.GE, accessLog.minStatus)] : []),
    ...(duration === undefined ? [] : [durationFilter(Math.max(1, Math.round(durationMs(duration))))]),
  ]);
}
