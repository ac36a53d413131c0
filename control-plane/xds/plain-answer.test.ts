import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { expect, test } from "vitest";

import { DeltaDiscoveryRequestSchema } from "#envoy/service/discovery/v3/discovery_pb.ts";

import { typeUrlOf } from "../../test/support/xds-resources.ts";
import { plainAnswer } from "./plain-answer.ts";

const CDS = typeUrlOf("CDS");
const encode = (fields: MessageInitShape<typeof DeltaDiscoveryRequestSchema>) =>
  Buffer.from(toBinary(DeltaDiscoveryRequestSchema, create(DeltaDiscoveryRequestSchema, fields)));

test("an acceptance is read", () => {
  expect(plainAnswer(encode({ typeUrl: CDS, responseNonce: "ab-1" }))).toEqual({ typeUrl: CDS, nonce: "ab-1" });
});

test.each<[string, MessageInitShape<typeof DeltaDiscoveryRequestSchema>]>([
  ["a refusal", { typeUrl: CDS, responseNonce: "n", errorDetail: { message: "no" } }],
  ["a name", { typeUrl: CDS, responseNonce: "n", resourceNamesSubscribe: ["a"] }],
  ["a name that is no longer wanted", { typeUrl: CDS, responseNonce: "n", resourceNamesUnsubscribe: ["a"] }],
  ["a node", { typeUrl: CDS, responseNonce: "n", node: { id: "n" } }],
  ["what is held", { typeUrl: CDS, responseNonce: "n", initialResourceVersions: { a: "1" } }],
  ["another type", { typeUrl: "type.googleapis.com/other", responseNonce: "n" }],
  ["no type", { responseNonce: "n" }],
  ["no nonce", { typeUrl: CDS }],
  ["a long nonce", { typeUrl: CDS, responseNonce: "n".repeat(128) }],
  ["a nonce that is not ASCII", { typeUrl: CDS, responseNonce: "é" }],
])("%s is for the general way", (_, fields) => {
  expect(plainAnswer(encode(fields))).toBeUndefined();
});

test("whatever is read is read as the general way does", () => {
  const good = encode({ typeUrl: CDS, responseNonce: "ab-1" });
  const broken = fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { maxLength: 3 }).map((edits) => {
    const bytes = Buffer.from(good);
    for (const [at, value] of edits) bytes[at] = value;
    return bytes;
  });
  fc.assert(
    fc.property(
      fc.oneof(
        broken,
        fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes)),
      ),
      (bytes) => {
        const answer = plainAnswer(bytes);
        if (answer === undefined) return;
        const { typeUrl, responseNonce } = fromBinary(DeltaDiscoveryRequestSchema, bytes);
        expect(answer).toEqual({ typeUrl, nonce: responseNonce });
      },
    ),
    { numRuns: 1_000 },
  );
});
