import { type DescMessage, isFieldSet, type Message } from "@bufbuild/protobuf";

import type { Cluster } from "#envoy/config/cluster/v3/cluster_pb.ts";
import {
  Http1ProtocolOptionsSchema,
  type Http2ProtocolOptions,
  HttpProtocolOptionsSchema,
} from "#envoy/config/core/v3/protocol_pb.ts";
import {
  type HttpProtocolOptions,
  HttpProtocolOptionsSchema as UpstreamOptionsSchema,
} from "#envoy/extensions/upstreams/http/v3/http_protocol_options_pb.ts";
import { unpack } from "#proto/registry.ts";

import { durationMs, type Place } from "../compile.ts";
import type { ClusterSettings } from "./cluster.ts";
import { compileHttp2Options, http2Defaults } from "./http2-options.ts";

/** HttpProtocolOptions.idle_timeout: 1 h unless set. */
const IDLE_TIMEOUT_MS_DEFAULT = 3_600_000;

type ProtocolSettings = Pick<
  ClusterSettings,
  "idleTimeoutMs" | "maxRequestsPerConnection" | "maxConnectionDurationMs" | "protocol" | "http2"
>;

/** What a cluster's requests say to the TLS of their connections (UpstreamHttpProtocolOptions). */
export interface SniOptions {
  readonly autoSni: boolean;
  readonly autoSanValidation: boolean;
}

/** How connections to a cluster's endpoints are used: Cluster.typed_extension_protocol_options, and the older field. */
export function compileProtocolOptions(
  message: Cluster,
  place: Place,
): ProtocolSettings & { readonly sni: SniOptions } {
  let settings: ProtocolSettings = {
    idleTimeoutMs: IDLE_TIMEOUT_MS_DEFAULT,
    maxRequestsPerConnection: message.maxRequestsPerConnection ?? 0,
    maxConnectionDurationMs: 0,
    protocol: "http1",
    http2: http2Defaults,
  };
  let sni: SniOptions = { autoSni: false, autoSanValidation: false };
  const at = place.field("typed_extension_protocol_options");
  for (const [name, any] of Object.entries(message.typedExtensionProtocolOptions)) {
    const unpacked = unpack(any);
    if (unpacked.kind !== "message" || unpacked.schema.typeName !== UpstreamOptionsSchema.typeName) {
      at.refuse(`the extension ${JSON.stringify(name)} is not supported`);
      continue;
    }
    const options = unpacked.message as HttpProtocolOptions;
    settings = { ...settings, ...compileProtocol(options, at), ...compileCommon(options, settings, at) };
    sni = {
      autoSni: options.upstreamHttpProtocolOptions?.autoSni ?? false,
      autoSanValidation: options.upstreamHttpProtocolOptions?.autoSanValidation ?? false,
    };
  }
  if (settings.protocol === "auto" && message.transportSocket === undefined) {
    at.field("auto_config").refuse("needs TLS, whose ALPN decides on the protocol");
  }
  return { ...settings, sni };
}

function compileCommon(
  { commonHttpProtocolOptions: common }: HttpProtocolOptions,
  before: ProtocolSettings,
  place: Place,
): Partial<ProtocolSettings> {
  if (common === undefined) return {};
  // The other fields are about connections of clients, or not there yet.
  const known = ["idle_timeout", "max_connection_duration", "max_requests_per_connection"];
  refuseOthers(HttpProtocolOptionsSchema, common, known, place.field("common_http_protocol_options"));
  return {
    idleTimeoutMs: durationMs(common.idleTimeout, before.idleTimeoutMs),
    maxConnectionDurationMs: durationMs(common.maxConnectionDuration, 0),
    maxRequestsPerConnection: common.maxRequestsPerConnection ?? before.maxRequestsPerConnection,
  };
}

function compileProtocol(
  { upstreamProtocolOptions: chosen }: HttpProtocolOptions,
  place: Place,
): Pick<ProtocolSettings, "protocol" | "http2"> {
  switch (chosen.case) {
    case "explicitHttpConfig": {
      const at = place.field("explicit_http_config");
      const { protocolConfig } = chosen.value;
      if (protocolConfig.case === "http2ProtocolOptions") {
        return { protocol: "http2", http2: http2(protocolConfig.value, at) };
      }
      if (protocolConfig.case !== "httpProtocolOptions") {
        at.refuse("only http_protocol_options (HTTP/1.1) and http2_protocol_options are supported");
      } else refuseOthers(Http1ProtocolOptionsSchema, protocolConfig.value, [], at.field("http_protocol_options"));
      return { protocol: "http1", http2: http2Defaults };
    }
    case "autoConfig":
    case "useDownstreamProtocolConfig": {
      const auto = chosen.case === "autoConfig";
      const at = place.field(auto ? "auto_config" : "use_downstream_protocol_config");
      const { httpProtocolOptions: http1, http2ProtocolOptions, http3ProtocolOptions } = chosen.value;
      if (http1 !== undefined) refuseOthers(Http1ProtocolOptionsSchema, http1, [], at.field("http_protocol_options"));
      if (http3ProtocolOptions !== undefined) at.field("http3_protocol_options").refuse("not supported");
      return { protocol: auto ? "auto" : "downstream", http2: http2(http2ProtocolOptions, at) };
    }
    default:
      place.refuse("one of explicit_http_config, auto_config, use_downstream_protocol_config must be set");
      return { protocol: "http1", http2: http2Defaults };
  }
}

const http2 = (options: Http2ProtocolOptions | undefined, place: Place) =>
  options === undefined ? http2Defaults : compileHttp2Options(options, place.field("http2_protocol_options"));

/** Listeners have these messages, too, and honour fields of them that have no meaning here. */
function refuseOthers(schema: DescMessage, message: Message, known: readonly string[], place: Place): void {
  for (const field of schema.fields) {
    if (isFieldSet(message, field) && !known.includes(field.name)) {
      place.field(field.name).refuse("not supported in clusters");
    }
  }
}
