import fc from "fast-check";
import { expect, test } from "vitest";

import { codeBits, codes, EOS } from "./huffman-code.ts";
import { decodedBytesMax, decodeHuffman } from "./huffman-decode.ts";
import { huffmanBytes, writeHuffman } from "./huffman-encode.ts";

function decoded(bytes: Uint8Array): string | undefined {
  const into = Buffer.alloc(decodedBytesMax(bytes.length));
  const length = decodeHuffman(bytes, 0, bytes.length, into);
  return length < 0 ? undefined : into.toString("latin1", 0, length);
}

test("codes fill the space of codes exactly, and are those of RFC 7541, appendix B", () => {
  expect(codeBits).toHaveLength(257);
  expect(codeBits.reduce((sum, bits) => sum + 2 ** -bits, 0)).toBe(1);
  const samples = { "0": 0x0, t: 0x9, " ": 0x14, z: 0x7b, "&": 0xf8, "@": 0x1ffa, "\\": 0x7fff0, "\n": 0x3ffffffc };
  for (const [symbol, code] of Object.entries(samples)) expect(codes[symbol.charCodeAt(0)]).toBe(code);
  expect(codes[249]).toBe(0xffffffe);
  expect(codes[EOS]).toBe(0x3fffffff);
});

test("what is written is read", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      const text = Buffer.from(bytes).toString("latin1");
      const into = Buffer.alloc(huffmanBytes(text) + 1);
      expect(writeHuffman(text, into, 0)).toBe(into.length - 1);
      expect(decoded(into.subarray(0, -1))).toBe(text);
    }),
    { examples: [[new Uint8Array(0)], [Uint8Array.of(10, 13, 22, 10)], [Uint8Array.of(0x30, 249, 0x30, 249, 0xff)]] },
  );
});

test.each([
  ["eight bits of padding", [0xff]],
  ["a byte and eight bits of padding", [0x07, 0xff, 0xff]],
  ["padding that isn't all ones", [0x00]],
  ["EOS", [0xff, 0xff, 0xff, 0xff]],
  ["EOS behind a letter", [0x1f, 0xff, 0xff, 0xff, 0xff]],
  ["a code that isn't whole", [0xff, 0xfe]],
])("%s is refused", (_title, bytes) => {
  expect(decoded(Uint8Array.from(bytes))).toBeUndefined();
});

test("up to seven ones are padding", () => {
  // "a" is 00011, and "X" 11111100.
  expect(decoded(Uint8Array.of(0b00011_111))).toBe("a");
  expect(decoded(Uint8Array.of(0xfc, 0b00011_000, 0b11_111111))).toBe("Xaa");
  expect(decoded(Uint8Array.of())).toBe("");
});
