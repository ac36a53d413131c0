import { ApiVersion } from "#envoy/config/core/v3/config_source_pb.ts";
import type { HttpGrpcAccessLogConfig } from "#envoy/extensions/access_loggers/grpc/v3/als_pb.ts";

import { durationMs, type Place } from "../../compile.ts";
import type { RequestRecord } from "../access-log.ts";
import { compileGrpcService, type Exporters } from "./exporters.ts";
import { GrpcLog } from "./grpc-log.ts";
import { encodeLogEntry } from "./log-entry.ts";

/** Keys of gRPC logs among a worker's exporters. */
const GRPC_LOG = "grpc-log ";

/** CommonGrpcAccessLogConfig: "Defaults to 1 second" and "Defaults to 16384". */
const FLUSH_MS_DEFAULT = 1_000;
const BUFFER_BYTES_DEFAULT = 16_384;

/** Compiles a gRPC access log: what is done with each request. Undefined: a problem was reported. */
export function compileGrpcLog(
  config: HttpGrpcAccessLogConfig,
  exporters: Exporters,
  place: Place,
): ((record: RequestRecord) => void) | undefined {
  const common = config.commonConfig;
  const at = place.field("common_config");
  if (common === undefined) {
    at.refuse("must be set");
    return undefined;
  }
  if (common.transportApiVersion !== ApiVersion.V3 && common.transportApiVersion !== ApiVersion.AUTO) {
    at.field("transport_api_version").refuse("only V3 is supported");
  }
  const target = compileGrpcService(common.grpcService, at.field("grpc_service"));
  if (target === undefined) return undefined;
  const options = {
    logName: common.logName,
    cluster: target.cluster,
    authority: target.authority,
    flushMs: durationMs(common.bufferFlushInterval, FLUSH_MS_DEFAULT),
    // "Setting it to zero effectively disables the batching."
    batchBytes: common.bufferSizeBytes ?? BUFFER_BYTES_DEFAULT,
  };
  const log = exporters.outlets.get(GRPC_LOG + JSON.stringify(options), () => new GrpcLog(options, exporters.context));
  const lower = (names: readonly string[]) => names.map((name) => name.toLowerCase());
  const extra = {
    request: lower(config.additionalRequestHeadersToLog),
    response: lower(config.additionalResponseHeadersToLog),
    trailers: lower(config.additionalResponseTrailersToLog),
  };
  return (record) => log.write(encodeLogEntry(record, extra));
}
