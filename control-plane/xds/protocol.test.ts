/** Whatever bytes come, decoding refuses them with an error or the rules take them; nothing else is thrown. */
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { expect, test } from "vitest";

import { DeltaDiscoveryRequestSchema, DiscoveryRequestSchema } from "#envoy/service/discovery/v3/discovery_pb.ts";
import { resourceType } from "#proto/resource-types.ts";

import { resource } from "../../test/support/xds-resources.ts";
import { ResourceCache } from "./cache.ts";
import { delta } from "./delta.ts";
import type { StreamProtocol } from "./protocol.ts";
import { sotw } from "./sotw.ts";
import { newSubscription, rescan } from "./subscription.ts";

const traits = { legacyWildcard: true, namesWildcardOnReconnect: false, takesErrors: false };
const cds = resourceType("CDS");

/** Puts each request to one subscription, with a push after it. */
function play(protocol: StreamProtocol, requests: readonly Uint8Array[]): void {
  const cache = new ResourceCache();
  cache.update("g", [resource("CDS", "a"), resource("CDS", "__proto__")]);
  cache.markReady();
  const set = cache.resources("g", cds.typeUrl);
  if (set === undefined) throw new Error("the group exists");
  const sub = newSubscription(cds);
  for (const bytes of requests) {
    let request: ReturnType<StreamProtocol["decode"]>;
    try {
      request = protocol.decode(Buffer.from(bytes));
    } catch {
      continue;
    }
    if (request.apply(sub, traits, 0).rescan) rescan(sub, set, 0);
    const push = protocol.take(sub, set, { updates: true, removals: true }, 1000);
    if (push !== undefined) protocol.encode({ version: "v", typeUrl: cds.typeUrl, nonce: "n" }, push);
  }
}

test.each([delta, sotw])("random bytes do no harm: $name", (protocol) => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 5 }), (requests) => {
      play(protocol, requests);
    }),
    { numRuns: 300 },
  );
});

const name = fc.constantFrom("", "*", "a", "b", "__proto__", "constructor");
const names = fc.array(name, { maxLength: 4 });
const nonce = fc.constantFrom("", "n", "other");
const errorDetail = fc.option(fc.constant({ code: 3, message: "" }), { nil: undefined });

test("any request in any order does no harm: delta", () => {
  const request: fc.Arbitrary<MessageInitShape<typeof DeltaDiscoveryRequestSchema>> = fc.record({
    resourceNamesSubscribe: names,
    resourceNamesUnsubscribe: names,
    initialResourceVersions: fc.dictionary(name, fc.string()),
    responseNonce: nonce,
    errorDetail,
  });
  fc.assert(
    fc.property(fc.array(request, { maxLength: 6 }), (requests) => {
      const encode = (each: (typeof requests)[number]) =>
        toBinary(DeltaDiscoveryRequestSchema, create(DeltaDiscoveryRequestSchema, each));
      expect(() => play(delta, requests.map(encode))).not.toThrow();
    }),
  );
});

test("any request in any order does no harm: state of the world", () => {
  const request: fc.Arbitrary<MessageInitShape<typeof DiscoveryRequestSchema>> = fc.record({
    resourceNames: names,
    versionInfo: fc.string(),
    responseNonce: nonce,
    errorDetail,
  });
  fc.assert(
    fc.property(fc.array(request, { maxLength: 6 }), (requests) => {
      const encode = (each: (typeof requests)[number]) =>
        toBinary(DiscoveryRequestSchema, create(DiscoveryRequestSchema, each));
      expect(() => play(sotw, requests.map(encode))).not.toThrow();
    }),
  );
});
