import * as fc from "fast-check";
import { expect, test } from "vitest";

import { packUpdates, unpackUpdates } from "./packed-updates.ts";
import type { RuntimeUpdate } from "./runtime.ts";

const update = fc.record({
  typeUrl: fc.constantFrom("a", "b", "c"),
  name: fc.string(),
  // Some beyond what a piece has room for.
  bytes: fc.option(
    fc.oneof(
      { weight: 20, arbitrary: fc.uint8Array() },
      { weight: 1, arbitrary: fc.integer({ min: 3_000, max: 9_000 }).map((size) => new Uint8Array(size).fill(size)) },
    ),
  ),
});

const toSend = ({ typeUrl, name, bytes }: RuntimeUpdate) => ({ typeUrl, name, resource: bytes && { bytes } });

test("updates come out as they went in", () => {
  fc.assert(
    fc.property(fc.array(update, { maxLength: 200 }), (updates) => {
      const packed = structuredClone(packUpdates(updates.map(toSend)));
      const found = unpackUpdates(packed).map(({ bytes, ...rest }) => ({
        ...rest,
        bytes: bytes && Uint8Array.from(bytes),
      }));
      expect(found).toEqual(updates);
    }),
  );
});

test("a change is a small message, and many are few pieces", () => {
  const one = { typeUrl: "a", name: "n", bytes: new Uint8Array(100) };
  expect(packUpdates([toSend(one)]).pieces.map(({ byteLength }) => byteLength)).toEqual([4096]);
  const { pieces } = packUpdates(Array.from({ length: 30_000 }, () => toSend(one)));
  expect(pieces.length).toBeLessThan(15);
  expect(packUpdates([toSend({ ...one, bytes: null })]).pieces).toEqual([]);
});
