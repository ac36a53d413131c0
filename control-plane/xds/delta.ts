import { fromBinary } from "@bufbuild/protobuf";

import { DeltaDiscoveryRequestSchema } from "#envoy/service/discovery/v3/discovery_pb.ts";

import { Bodies } from "./bodies.ts";
import { NameLists } from "./name-lists.ts";
import { plainAnswer } from "./plain-answer.ts";
import type { IncomingRequest, StreamProtocol } from "./protocol.ts";
import { applyAnswer, applyDelta, takeDelta } from "./subscription-delta.ts";
import { encodeDeltaResponse } from "./wire.ts";

const bodies = new Bodies("delta");
const nameLists = new NameLists(
  DeltaDiscoveryRequestSchema.field.resourceNamesSubscribe.number,
  (bytes) => fromBinary(DeltaDiscoveryRequestSchema, bytes).resourceNamesSubscribe,
);

const noLists: IncomingRequest["nameLists"] = [];

/** Incremental streams: DeltaDiscoveryRequest in, DeltaDiscoveryResponse out. */
export const delta: StreamProtocol = {
  name: "delta",
  lingers: false,
  decode(bytes) {
    const answer = plainAnswer(bytes);
    if (answer !== undefined) {
      const { typeUrl, nonce } = answer;
      const apply: IncomingRequest["apply"] = (sub, traits, nowMs) => applyAnswer(sub, nonce, traits, nowMs);
      return { node: undefined, typeUrl, nameLists: noLists, reconnects: false, apply };
    }
    // The message refers to what it was read from.
    const { list, rest } = nameLists.cut(Buffer.from(bytes));
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
        applyDelta(
          sub,
          {
            resourceNamesSubscribe,
            sharedNames,
            resourceNamesUnsubscribe,
            initialResourceVersions,
            responseNonce: request.responseNonce,
            refusal,
          },
          traits,
          nowMs,
        ),
    };
  },
  take: takeDelta,
  encode: (head, push) => encodeDeltaResponse(head, bodies.of(head.typeUrl, push.resources), push.removed),
};
