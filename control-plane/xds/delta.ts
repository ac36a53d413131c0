import { fromBinary } from "@bufbuild/protobuf";

import { DeltaDiscoveryRequestSchema } from "#envoy/service/discovery/v3/discovery_pb.ts";

import { Bodies } from "./bodies.ts";
import { NameLists } from "./name-lists.ts";
import type { StreamProtocol } from "./protocol.ts";
import { applyDelta, takeDelta } from "./subscription-delta.ts";
import { encodeDeltaResponse } from "./wire.ts";

const bodies = new Bodies("delta");
const nameLists = new NameLists(
  DeltaDiscoveryRequestSchema.field.resourceNamesSubscribe.number,
  (bytes) => fromBinary(DeltaDiscoveryRequestSchema, bytes).resourceNamesSubscribe,
);

/** Incremental streams: DeltaDiscoveryRequest in, DeltaDiscoveryResponse out. */
export const delta: StreamProtocol = {
  name: "delta",
  lingers: false,
  decode(bytes) {
    const { list, rest } = nameLists.cut(bytes);
    const request = fromBinary(DeltaDiscoveryRequestSchema, rest);
    const { resourceNamesUnsubscribe, initialResourceVersions } = request;
    const isAlone = request.resourceNamesSubscribe.length === 0;
    const resourceNamesSubscribe = isAlone ? list.names : [...list.names, ...request.resourceNamesSubscribe];
    const sharedNames = isAlone ? list.set : undefined;
    const refusal = request.errorDetail?.message;
    const held = Object.keys(initialResourceVersions);
    return {
      node: request.node,
      typeUrl: request.typeUrl,
      nameLists: [resourceNamesSubscribe, resourceNamesUnsubscribe, held],
      reconnects: held.length > 0,
      apply: (sub, traits, nowMs) =>
        applyDelta(sub, { ...request, resourceNamesSubscribe, sharedNames, refusal }, traits, nowMs),
    };
  },
  take: takeDelta,
  encode: (head, push) => encodeDeltaResponse(head, bodies.of(head.typeUrl, push.resources), push.removed),
};
