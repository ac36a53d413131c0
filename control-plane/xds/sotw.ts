import { fromBinary } from "@bufbuild/protobuf";

import { DiscoveryRequestSchema } from "#envoy/service/discovery/v3/discovery_pb.ts";

import { Bodies } from "./bodies.ts";
import type { StreamProtocol } from "./protocol.ts";
import { applySotw, takeSotw } from "./subscription-sotw.ts";
import { encodeResponse } from "./wire.ts";

const bodies = new Bodies("sotw");

/** State-of-the-world streams: DiscoveryRequest in, DiscoveryResponse out. */
export const sotw: StreamProtocol = {
  name: "sotw",
  lingers: true,
  decode(bytes) {
    const request = fromBinary(DiscoveryRequestSchema, bytes);
    return {
      node: request.node,
      typeUrl: request.typeUrl,
      nameLists: [request.resourceNames],
      // S16: a version without a nonce is that of another stream.
      reconnects: request.versionInfo !== "" && request.responseNonce === "",
      apply: (sub, traits, nowMs) =>
        applySotw(sub, { ...request, refusal: request.errorDetail?.message }, traits, nowMs),
    };
  },
  take: takeSotw,
  encode: (head, push) => encodeResponse(head, bodies.of(head.typeUrl, push.resources), push.notFound),
};
