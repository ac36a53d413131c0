import { create } from "@bufbuild/protobuf";
import { type Any, anyPack } from "@bufbuild/protobuf/wkt";

import { Http2ProtocolOptionsSchema } from "#envoy/config/core/v3/protocol_pb.ts";
import {
  type HttpProtocolOptions,
  HttpProtocolOptions_AutoHttpConfigSchema,
  HttpProtocolOptions_ExplicitHttpConfigSchema,
  HttpProtocolOptionsSchema,
} from "#envoy/extensions/upstreams/http/v3/http_protocol_options_pb.ts";
import { type Upstream, UpstreamProtocol } from "#sluice/model/v1/upstream_pb.ts";

/** Envoy's name for the options, which is a key of the cluster's map. */
const NAME = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/** What a cluster's nodes speak; nothing for HTTP/1.1, which is what data planes assume. */
export function toProtocolOptions({ protocol }: Pick<Upstream, "protocol">): Record<string, Any> {
  const options = optionsOf(protocol);
  if (options === undefined) return {};
  const message = create(HttpProtocolOptionsSchema, { upstreamProtocolOptions: options });
  return { [NAME]: anyPack(HttpProtocolOptionsSchema, message) };
}

function optionsOf(protocol: UpstreamProtocol): HttpProtocolOptions["upstreamProtocolOptions"] | undefined {
  switch (protocol) {
    case UpstreamProtocol.HTTP2:
    case UpstreamProtocol.GRPC:
      return {
        case: "explicitHttpConfig",
        value: create(HttpProtocolOptions_ExplicitHttpConfigSchema, {
          protocolConfig: { case: "http2ProtocolOptions", value: create(Http2ProtocolOptionsSchema) },
        }),
      };
    case UpstreamProtocol.AUTO:
      return {
        case: "autoConfig",
        value: create(HttpProtocolOptions_AutoHttpConfigSchema, {
          http2ProtocolOptions: create(Http2ProtocolOptionsSchema),
        }),
      };
    default:
      return undefined;
  }
}
