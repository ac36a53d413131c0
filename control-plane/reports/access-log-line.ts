import { toJson } from "@bufbuild/protobuf";

import {
  type AccessLogCommon,
  type HTTPAccessLogEntry,
  HTTPAccessLogEntrySchema,
  type TCPAccessLogEntry,
  TCPAccessLogEntrySchema,
} from "#envoy/data/accesslog/v3/accesslog_pb.ts";
import { registry } from "#proto/registry.ts";

/** Where entries come from. */
export interface LogSource {
  readonly gateway_group: string;
  readonly node_id: string;
  readonly log_name: string;
}

/** Names as in Envoy's documentation of data/accesslog/v3. */
const options = { registry, useProtoFieldName: true } as const;

/** A line of JSON: the source, the kind, and the fields of the entry. */
export function httpLine(source: LogSource, entry: HTTPAccessLogEntry): string {
  keepKnown(entry.commonProperties);
  return line(source, "http", toJson(HTTPAccessLogEntrySchema, entry, options));
}

/** As `httpLine`, of a connection. */
export function tcpLine(source: LogSource, entry: TCPAccessLogEntry): string {
  keepKnown(entry.commonProperties);
  return line(source, "tcp", toJson(TCPAccessLogEntrySchema, entry, options));
}

const line = (source: LogSource, type: string, entry: unknown) =>
  JSON.stringify({ ...source, type, ...(entry as Record<string, unknown>) }).replace(
    LINE_BREAKERS,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );

/**
 * What clients say is in there. JSON escapes the controls of ASCII alone, but U+0085 and U+2028 end lines, too, and U+009B drives terminals as
 * ESC [ does.
 */
const LINE_BREAKERS = /[\u0080-\u009f\u2028\u2029]/g;

/** Filters may add messages of types that only they know, of which there is no JSON. */
function keepKnown(common: AccessLogCommon | undefined): void {
  for (const anys of [common?.filterStateObjects, common?.metadata?.typedFilterMetadata]) {
    for (const [key, { typeUrl }] of Object.entries(anys ?? {})) {
      if (registry.getMessage(typeUrl.slice(typeUrl.lastIndexOf("/") + 1)) === undefined) delete anys?.[key];
    }
  }
}
