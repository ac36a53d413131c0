import { fromBinary } from "@bufbuild/protobuf";

import { DeltaDiscoveryRequestSchema } from "#envoy/service/discovery/v3/discovery_pb.ts";

import { Bodies } from "./bodies.ts";
import type { StreamProtocol } from "./protocol.ts";
import { applyDelta, takeDelta } from "./subscription-delta.ts";
import { encodeDeltaResponse } from "./wire.ts";

const bodies = new Bodies("delta");

/** Incremental streams: DeltaDiscoveryRequest in, DeltaDiscoveryResponse out. */
export const delta: StreamProtocol = {
  name: "delta",
  lingers: false,
  decode(bytes) {
    const request = fromBinary(DeltaDiscoveryRequestSchema, bytes);
    const { resourceNamesSubscribe, resourceNamesUnsubscribe, initialResourceVersions } = request;
    const held = Object.keys(initialResourceVersions);
    return {
      node: request.node,
      typeUrl: request.typeUrl,
      nameLists: [resourceNamesSubscribe, resourceNamesUnsubscribe, held],
      reconnects: held.length > 0,
      apply: (sub, traits, nowMs) =>
        applyDelta(sub, { ...request, refusal: request.errorDetail?.message }, traits, nowMs),
    };
  },
  take: takeDelta,
  encode: (head, push) => encodeDeltaResponse(head, bodies.of(head.typeUrl, push.resources), push.removed),
};
