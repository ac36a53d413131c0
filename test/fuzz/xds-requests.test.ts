/**
 * Requests that nobody would send, over real streams: whatever their bytes, a stream goes on or ends with a status that says why, and the
 * server serves the next one. More cases: SLUICE_FUZZ_CASES, SLUICE_FUZZ_SEED.
 */
import { create, toBinary } from "@bufbuild/protobuf";
import { status } from "@grpc/grpc-js";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";

import { DeltaDiscoveryRequestSchema, DiscoveryRequestSchema } from "#envoy/service/discovery/v3/discovery_pb.ts";
import { servedTypes } from "#proto/resource-types.ts";

import { waitFor } from "../support/wait.ts";
import { resource } from "../support/xds-resources.ts";
import { startXdsRig, type XdsRig } from "../support/xds-rig.ts";

const numRuns = Number(process.env["SLUICE_FUZZ_CASES"] ?? 60);
const seed = process.env["SLUICE_FUZZ_SEED"];
const parameters = { numRuns, ...(seed !== undefined && { seed: Number(seed) }), endOnFailure: true };

let rig: XdsRig;
beforeAll(async () => {
  rig = await startXdsRig([resource("CDS", "a"), resource("EDS", "a"), resource("LDS", "l"), resource("RDS", "r")]);
});
afterAll(() => rig[Symbol.asyncDispose]());

/** What a stream may end with by its requests alone. INTERNAL is a bug of ours. */
const allowed = [status.INVALID_ARGUMENT, status.RESOURCE_EXHAUSTED];

const node = fc.constantFrom(
  undefined,
  { id: "test", cluster: "default" },
  { id: "", cluster: "default" },
  { id: "other", cluster: "default" },
  { id: "a\u0000b", cluster: "default" },
  { id: "x".repeat(2_000), cluster: "default" },
);
const typeUrl = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom(...servedTypes.map((each) => each.typeUrl)) },
  { weight: 1, arbitrary: fc.constantFrom("", "type.googleapis.com/made.Up", "x".repeat(10_000)) },
);
const name = fc.oneof(
  fc.constantFrom("a", "l", "r", "*", "", "xdstp://x/y/*", "__proto__", "constructor"),
  fc.string({ unit: "binary", maxLength: 20 }),
  fc.constant("n".repeat(5_000)),
);
const names = fc.array(name, { maxLength: 5 });
const nonce = fc.constantFrom("", "stale", "last");
const errorDetail = fc.option(fc.record({ code: fc.integer(), message: fc.string() }), { nil: undefined });

const sotwRequest = fc
  .record({ node, typeUrl, versionInfo: fc.string(), resourceNames: names, responseNonce: nonce, errorDetail })
  .map((request) => ({ ...request, message: create(DiscoveryRequestSchema, request) }));
const deltaRequest = fc
  .record({
    ...{ node, typeUrl, responseNonce: nonce, errorDetail },
    resourceNamesSubscribe: names,
    resourceNamesUnsubscribe: names,
    initialResourceVersions: fc.dictionary(name, fc.string(), { maxKeys: 3 }),
  })
  .map((request) => ({ ...request, message: create(DeltaDiscoveryRequestSchema, request) }));

/** Encoded requests, some with a byte changed, cut off or added. */
const mutated = (bytes: fc.Arbitrary<Uint8Array>) =>
  fc
    .tuple(bytes, fc.nat(), fc.nat(255), fc.constantFrom("as it is", "as it is", "flip", "cut", "add"))
    .map(([original, at, byte, how]) => {
      const copy = Buffer.from(original);
      if (how === "cut") return copy.subarray(0, at % (copy.length + 1));
      if (how === "add") return Buffer.concat([copy, Buffer.from([byte])]);
      if (how === "flip" && copy.length > 0) copy[at % copy.length] = byte;
      return copy;
    });

const kinds = [
  ["delta", mutated(deltaRequest.map(({ message }) => toBinary(DeltaDiscoveryRequestSchema, message)))],
  ["sotw", mutated(sotwRequest.map(({ message }) => toBinary(DiscoveryRequestSchema, message)))],
] as const;

test.each(kinds)("%s: any requests, whole or broken", { timeout: 600_000 }, async (kind, bytes) => {
  const anything = fc.array(fc.oneof({ weight: 9, arbitrary: bytes }, fc.uint8Array({ maxLength: 200 })), {
    minLength: 1,
    maxLength: 12,
  });
  await fc.assert(
    fc.asyncProperty(anything, async (requests) => {
      // It has said its last word before the first response comes, and answers none.
      const client = rig[kind]({ node: { id: "test", cluster: "default" }, answer: () => "none" });
      for (const request of requests) client.sendRaw(request);
      client.halfClose();
      const ended = await client.end();
      if (ended !== "ok") expect(allowed, ended.details).toContain(ended.code);
      client.close();
    }),
    parameters,
  );
  expect(await rig.nodesAre((nodes) => nodes.every(({ state }) => state === "disconnected"))).toBeDefined();
  // Nothing of it is left, and the next one is served.
  await waitFor("no stream", () => rig.server.streams === 0);
  const client = rig.delta();
  client.send({ typeUrl: resource("CDS", "a").typeUrl });
  expect((await client.next()).resources.map((each) => each.name)).toEqual(["a"]);
  client.close();
});
