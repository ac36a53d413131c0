import { isFieldSet } from "@bufbuild/protobuf";

import type { Cluster } from "#envoy/config/cluster/v3/cluster_pb.ts";
import { Http1ProtocolOptionsSchema, HttpProtocolOptionsSchema } from "#envoy/config/core/v3/protocol_pb.ts";
import {
  type HttpProtocolOptions,
  HttpProtocolOptionsSchema as UpstreamOptionsSchema,
} from "#envoy/extensions/upstreams/http/v3/http_protocol_options_pb.ts";
import { unpack } from "#proto/registry.ts";

import { durationMs, type Place } from "../compile.ts";
import type { ClusterSettings } from "./cluster.ts";

/** HttpProtocolOptions.idle_timeout: 1 h unless set. */
const IDLE_TIMEOUT_MS_DEFAULT = 3_600_000;

/** How connections to a cluster's endpoints are used: Cluster.typed_extension_protocol_options, and the older field. */
export function compileProtocolOptions(
  message: Cluster,
  place: Place,
): Pick<ClusterSettings, "idleTimeoutMs" | "maxRequestsPerConnection"> {
  let idleTimeoutMs = IDLE_TIMEOUT_MS_DEFAULT;
  let maxRequestsPerConnection = message.maxRequestsPerConnection ?? 0;
  const at = place.field("typed_extension_protocol_options");
  for (const [name, any] of Object.entries(message.typedExtensionProtocolOptions)) {
    const unpacked = unpack(any);
    if (unpacked.kind !== "message" || unpacked.schema.typeName !== UpstreamOptionsSchema.typeName) {
      at.refuse(`the extension ${JSON.stringify(name)} is not supported`);
      continue;
    }
    const options = unpacked.message as HttpProtocolOptions;
    requireHttp1(options, at);
    const common = options.commonHttpProtocolOptions;
    if (common === undefined) continue;
    // The other fields are about connections of clients, or not there yet.
    const known = new Set(["idle_timeout", "max_requests_per_connection"]);
    for (const field of HttpProtocolOptionsSchema.fields) {
      if (isFieldSet(common, field) && !known.has(field.name)) {
        at.field("common_http_protocol_options").field(field.name).refuse("not supported in clusters");
      }
    }
    idleTimeoutMs = durationMs(common.idleTimeout, idleTimeoutMs);
    maxRequestsPerConnection = common.maxRequestsPerConnection ?? maxRequestsPerConnection;
  }
  return { idleTimeoutMs, maxRequestsPerConnection };
}

/** Upstream connections speak HTTP/1.1 as it is. */
function requireHttp1(options: HttpProtocolOptions, place: Place): void {
  const explicit = options.upstreamProtocolOptions;
  if (explicit.case !== "explicitHttpConfig") {
    place.refuse("of the upstream protocol options only explicit_http_config is supported");
    return;
  }
  const at = place.field("explicit_http_config");
  const { protocolConfig } = explicit.value;
  if (protocolConfig.case !== "httpProtocolOptions") {
    at.refuse("only http_protocol_options (HTTP/1.1) is supported");
    return;
  }
  for (const field of Http1ProtocolOptionsSchema.fields) {
    if (isFieldSet(protocolConfig.value, field)) {
      at.field("http_protocol_options").field(field.name).refuse("not supported in clusters");
    }
  }
}
