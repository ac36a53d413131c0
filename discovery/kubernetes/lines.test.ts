import fc from "fast-check";
import { expect, test } from "vitest";

import { DiscoveryError } from "../source.ts";

import { LineSplitter } from "./lines.ts";

const line = fc.string({ unit: "grapheme", maxLength: 30 }).filter((text) => !text.includes("\n") && text !== "");

test("gives the same lines however the bytes are cut", () => {
  fc.assert(
    fc.property(fc.array(line, { maxLength: 20 }), fc.array(fc.nat(40), { minLength: 1 }), (lines, cuts) => {
      const bytes = Buffer.from(lines.map((text) => `${text}\n`).join(""));
      const splitter = new LineSplitter();
      const found: string[] = [];
      for (let at = 0, turn = 0; at < bytes.length; turn++) {
        const length = (cuts[turn % cuts.length] ?? 0) + 1;
        found.push(...splitter.push(bytes.subarray(at, at + length)));
        at += length;
      }
      expect(found).toEqual(lines);
      expect(splitter.unfinished).toBe(false);
    }),
  );
});

test("knows when the stream ends within a line", () => {
  const splitter = new LineSplitter();
  expect(splitter.push(Buffer.from('{"a":1}\n{"b"'))).toEqual(['{"a":1}']);
  expect(splitter.unfinished).toBe(true);
});

test("refuses a line without end, and takes many short ones of the same length together", () => {
  const splitter = new LineSplitter(10);
  expect(splitter.push(Buffer.from("12345678\n12345678\n1234567890"))).toHaveLength(2);
  expect(() => splitter.push(Buffer.from("1"))).toThrow(DiscoveryError);
});
