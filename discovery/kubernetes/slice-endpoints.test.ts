import fc from "fast-check";
import { expect, test } from "vitest";

import { packEndpoints, unpackEndpoints } from "./slice-endpoints.ts";

test("what is packed is the same again, whatever characters are in it", () => {
  const text = fc.string({ unit: "binary", maxLength: 5 });
  const endpoint = fc.record({
    address: fc.string({ minLength: 1 }),
    name: text,
    node: text,
    zone: text,
    forZones: fc.array(text, { maxLength: 3 }),
  });
  fc.assert(
    fc.property(fc.array(endpoint, { maxLength: 5 }), (endpoints) => {
      const packed = packEndpoints(
        endpoints.map(({ address, name, node, zone, forZones }) => ({
          addresses: [address],
          targetRef: { name },
          nodeName: node,
          zone,
          hints: { forZones: forZones.map((each) => ({ name: each })) },
        })),
      );
      const byAddress = endpoints.toSorted((a, b) => (a.address < b.address ? -1 : a.address > b.address ? 1 : 0));
      expect(unpackEndpoints(packed)).toEqual(byAddress.map((each) => ({ ...each, readiness: "ready" })));
    }),
  );
});

test("lists and fields that are null, missing or empty are taken for what they mean", () => {
  const bare = { readiness: "ready", name: "", node: "", zone: "", forZones: [] };
  const packed = packEndpoints([
    { addresses: ["10.0.0.1", "10.0.0.2"], conditions: null, nodeName: null, zone: null, hints: { forZones: null } },
    { addresses: ["10.0.0.3"], hostname: "web-0", targetRef: null },
    { addresses: [] },
    { addresses: null },
  ]);
  expect(unpackEndpoints(packed)).toEqual([
    { ...bare, address: "10.0.0.1" },
    { ...bare, address: "10.0.0.3", name: "web-0" },
  ]);
});

test("another order of the same endpoints is the same text; of two with one address the first stays the first", () => {
  const [one, two, other] = [
    { addresses: ["10.0.0.1"], nodeName: "a" },
    { addresses: ["10.0.0.2"] },
    { addresses: ["10.0.0.1"], nodeName: "b" },
  ];
  expect(packEndpoints([two, one])).toBe(packEndpoints([one, two]));
  expect(packEndpoints([one, other])).not.toBe(packEndpoints([other, one]));
});
