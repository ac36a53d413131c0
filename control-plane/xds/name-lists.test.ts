import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { expect, test } from "vitest";

import { DeltaDiscoveryRequestSchema } from "#envoy/service/discovery/v3/discovery_pb.ts";

import { NameLists } from "./name-lists.ts";

const newLists = () =>
  new NameLists(
    DeltaDiscoveryRequestSchema.field.resourceNamesSubscribe.number,
    (bytes) => fromBinary(DeltaDiscoveryRequestSchema, bytes).resourceNamesSubscribe,
  );

const names = Array.from({ length: 100 }, (_, at) => `cluster-${at}`);

const encode = (resourceNamesSubscribe: string[], responseNonce = "n") =>
  Buffer.from(
    toBinary(
      DeltaDiscoveryRequestSchema,
      create(DeltaDiscoveryRequestSchema, { typeUrl: "t", resourceNamesSubscribe, responseNonce }),
    ),
  );

test("requests that list the same names share one set, whatever else they say", () => {
  const lists = newLists();
  const [one, other] = [lists.cut(encode(names, "n1")), lists.cut(encode(names, "n2"))];
  expect(one.list.names).toEqual(names);
  expect([...(one.list.set ?? [])]).toEqual(names);
  expect(other.list.set).toBe(one.list.set);
  for (const [{ rest }, nonce] of [
    [one, "n1"],
    [other, "n2"],
  ] as const) {
    expect(fromBinary(DeltaDiscoveryRequestSchema, rest)).toMatchObject({
      typeUrl: "t",
      resourceNamesSubscribe: [],
      responseNonce: nonce,
    });
  }
});

test("a list that begins like another is another", () => {
  const lists = newLists();
  const { list } = lists.cut(encode(names));
  const longer = lists.cut(encode([...names, "more"])).list;
  expect(longer.names).toEqual([...names, "more"]);
  expect(lists.cut(encode(names.slice(0, 99))).list.names).toEqual(names.slice(0, 99));
  expect(lists.cut(encode(names)).list.set).toBe(list.set);
  // The longer one is known by now, and still not mistaken for its beginning.
  expect(lists.cut(encode([...names, "more"])).list.set).toBe(longer.set);
});

test("short requests are left whole", () => {
  const bytes = encode(["a"]);
  expect(newLists().cut(bytes)).toEqual({ list: { names: [], set: undefined }, rest: bytes });
});

test("of names in two places the first are cut out, and the rest is left", () => {
  const bytes = Buffer.concat([encode(names, "n1"), encode(["z"], "n2")]);
  const { list, rest } = newLists().cut(bytes);
  expect(list.names).toEqual(names);
  expect(fromBinary(DeltaDiscoveryRequestSchema, rest).resourceNamesSubscribe).toEqual(["z"]);
});

test("what is no message is refused", () => {
  const bytes = encode(names);
  expect(() => newLists().cut(bytes.subarray(0, -150))).toThrow();
  // A name that is no UTF-8.
  const field = Buffer.from([0x1a, 200, 1, ...new Uint8Array(200).fill(0xff)]);
  expect(() => newLists().cut(Buffer.concat([field, field]))).toThrow();
});

test("what is remembered is bounded, and what is used stays", () => {
  const lists = newLists();
  const { set } = lists.cut(encode(names)).list;
  for (let at = 0; at < 100; at++) {
    lists.cut(encode(names.map((name) => `${name}-${at}`)));
    expect(lists.cut(encode(names)).list.set).toBe(set);
  }
  const first = names.map((name) => `${name}-0`);
  const again = lists.cut(encode(first)).list.set;
  expect(lists.cut(encode(first)).list.set).toBe(again);
});
