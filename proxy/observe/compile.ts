import { accessSync, constants } from "node:fs";
import { dirname } from "node:path";

import type { JsonObject } from "@bufbuild/protobuf";

import type { AccessLog as AccessLogMessage } from "#envoy/config/accesslog/v3/accesslog_pb.ts";
import type { SubstitutionFormatString } from "#envoy/config/core/v3/substitution_format_string_pb.ts";
import { type FileAccessLog, FileAccessLogSchema } from "#envoy/extensions/access_loggers/file/v3/file_pb.ts";
import {
  type HttpGrpcAccessLogConfig,
  HttpGrpcAccessLogConfigSchema,
} from "#envoy/extensions/access_loggers/grpc/v3/als_pb.ts";
import {
  type StderrAccessLog,
  StderrAccessLogSchema,
  type StdoutAccessLog,
  StdoutAccessLogSchema,
} from "#envoy/extensions/access_loggers/stream/v3/stream_pb.ts";
import { unpack } from "#proto/registry.ts";

import type { Place } from "../compile.ts";
import { compileGrpcLog } from "./export/compile-grpc-log.ts";
import type { AccessLog } from "./access-log.ts";
import { type LogSinks, STDERR, STDOUT } from "./file-sink.ts";
import { compileLogFilter, type RecordTest } from "./log-filter.ts";
import { compileJsonFormat, compileRawFormat, compileTextFormat, DEFAULT_TEXT_FORMAT, type Format } from "./format.ts";

/** Compiles an HttpConnectionManager's access logs. */
export function compileAccessLogs(messages: readonly AccessLogMessage[], sinks: LogSinks, place: Place): AccessLog[] {
  return messages.flatMap((message, index) => {
    const compiled = compileAccessLog(message, sinks, place.item("access_log", index));
    return compiled === undefined ? [] : [compiled];
  });
}

function compileAccessLog(message: AccessLogMessage, sinks: LogSinks, place: Place): AccessLog | undefined {
  const at = place.field("typed_config");
  const filter = message.filter && compileLogFilter(message.filter, place.field("filter"));
  const toService = grpcLogOf(message, sinks, at);
  if (toService !== undefined) return filtered(toService, filter);
  const target = targetOf(message, at);
  if (target === undefined) return undefined;
  const format = compileFormat(target.format, DEFAULT_TEXT_FORMAT, at.field("log_format"));
  const sink = sinks.sink(target.path);
  return filtered((record) => sink.write(format(record)), filter);
}

/** Of a log that takes all, what writes is called at once. */
const filtered = (write: AccessLog["write"], filter: RecordTest | undefined): AccessLog =>
  filter === undefined
    ? { write }
    : {
        write(record) {
          if (filter(record)) write(record);
        },
      };

/** Undefined: the log goes elsewhere, or a problem was reported. */
function grpcLogOf({ configType }: AccessLogMessage, sinks: LogSinks, place: Place): AccessLog["write"] | undefined {
  const unpacked = configType.case === "typedConfig" ? unpack(configType.value) : undefined;
  if (unpacked?.kind !== "message" || unpacked.schema.typeName !== HttpGrpcAccessLogConfigSchema.typeName) {
    return undefined;
  }
  return compileGrpcLog(unpacked.message as HttpGrpcAccessLogConfig, sinks.exporters, place) ?? (() => {});
}

interface Target {
  readonly path: string;
  readonly format: SubstitutionFormatString | undefined;
}

function targetOf({ configType }: AccessLogMessage, place: Place): Target | undefined {
  const unpacked = configType.case === "typedConfig" ? unpack(configType.value) : undefined;
  if (unpacked?.kind !== "message") {
    place.refuse("only the file, stdout, stderr and gRPC access loggers are supported");
    return undefined;
  }
  switch (unpacked.schema.typeName) {
    case FileAccessLogSchema.typeName: {
      const { path, accessLogFormat } = unpacked.message as FileAccessLog;
      if (path === "" || !isWritable(path)) {
        place.field("path").refuse(`${JSON.stringify(path)} is in no folder that this proxy may write to`);
      }
      if (accessLogFormat.case !== undefined && accessLogFormat.case !== "logFormat") {
        place.refuse("of the formats only log_format is supported; the others are deprecated");
      }
      return { path, format: accessLogFormat.case === "logFormat" ? accessLogFormat.value : undefined };
    }
    case StdoutAccessLogSchema.typeName:
      return { path: STDOUT, format: (unpacked.message as StdoutAccessLog).accessLogFormat.value };
    case StderrAccessLogSchema.typeName:
      return { path: STDERR, format: (unpacked.message as StderrAccessLog).accessLogFormat.value };
    default:
      place.refuse(`the access logger ${unpacked.schema.typeName} is not supported`);
      return undefined;
  }
}

/** Whether the file could be made; Envoy refuses a listener whose log it cannot open. */
function isWritable(path: string): boolean {
  if (path === STDOUT || path === STDERR) return true;
  try {
    accessSync(dirname(path), constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/**
 * Compiles a SubstitutionFormatString; `otherwise` is the text format where there is none. In a log what could break a line is escaped;
 * `raw` text stays as it is.
 */
export function compileFormat(
  message: SubstitutionFormatString | undefined,
  otherwise: string,
  place: Place,
  use: "log" | "raw" = "log",
): Format {
  const compileText = use === "log" ? compileTextFormat : compileRawFormat;
  const omitEmpty = message?.omitEmptyValues ?? false;
  const format = message?.format;
  switch (format?.case) {
    case "jsonFormat":
      return compileJsonFormat(format.value as JsonObject, omitEmpty, place.field("json_format"));
    case "textFormat":
      return compileText(format.value, omitEmpty, place.field("text_format"));
    case "textFormatSource":
      if (format.value.specifier.case !== "inlineString") {
        place.field("text_format_source").refuse("only inline_string is supported");
        break;
      }
      return compileText(format.value.specifier.value, omitEmpty, place.field("text_format_source"));
    case undefined:
      break;
  }
  return compileText(otherwise, omitEmpty, place);
}
