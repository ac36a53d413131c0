import fc from "fast-check";
import { expect, test } from "vitest";

import { HpackDecoder } from "./decoder.ts";

const LIMITS = { listBytes: 65_536, fields: 100 };

function run(decoder: HpackDecoder, bytes: readonly number[] | Uint8Array) {
  const fields: string[] = [];
  return { outcome: decoder.decode(Buffer.from(bytes), 0, bytes.length, fields), fields };
}

const fresh = (bytes: readonly number[]) => run(new HpackDecoder(4_096, LIMITS), bytes);

/** A literal with a new name; `kind` is 0x40 to add it to the table, 0 not to. */
const literal = (kind: number, name: string, value: string): number[] => [
  kind,
  ...[...integer(name.length), ...Buffer.from(name, "latin1")],
  ...[...integer(value.length), ...Buffer.from(value, "latin1")],
];

/** A length of a string that is not in Huffman's code. */
function integer(value: number): number[] {
  if (value < 127) return [value];
  const bytes = [127];
  let rest = value - 127;
  for (; rest >= 128; rest >>>= 7) bytes.push((rest & 127) | 128);
  return [...bytes, rest];
}

test.each<[string, number[]]>([
  ["index 0", [0x80]],
  ["an index beyond the tables", [0xbe]],
  ["an index beyond the tables as a name", [0x7f, 0x00, 0x01, 0x61]],
  ["a large index", [0xff, 0xff, 0xff, 0xff, 0x0f]],
  ["an integer that doesn't end", [0xff, 0x80]],
  ["an integer of many zeros", [0xff, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00]],
  ["an integer beyond 2^31", [0x40, 0x7f, 0x80, 0xff, 0xff, 0xff, 0x7f]],
  ["a name that doesn't end", [0x40, 0x05, 0x61]],
  ["no value", [0x40, 0x01, 0x61]],
  ["a value that doesn't end", [0x44, 0x05, 0x2f]],
  ["Huffman's code with EOS", [0x44, 0x84, 0xff, 0xff, 0xff, 0xff]],
  ["Huffman's code with too much padding", [0x44, 0x82, 0x1f, 0xff]],
  ["a table larger than allowed", [0x3f, 0xe2, 0x1f]],
  ["a change of the table's size behind a field", [0x82, 0x20]],
  ["a change of the table's size that doesn't end", [0x3f]],
])("%s is an error of compression", (_title, bytes) => {
  expect(fresh(bytes).outcome).toBe("compression");
});

test("an empty block is one of no fields", () => {
  expect(fresh([])).toEqual({ outcome: "ok", fields: [] });
});

test.each<[string, string, string]>([
  ["an empty name", "", "x"],
  ["a colon alone", ":", "x"],
  ["an upper-case name", "X-a", "x"],
  ["a space in a name", "x a", "x"],
  ["a colon in a name", "x:a", "x"],
  ["a line end in a name", "x\r\na", "x"],
  ["a high byte in a name", "x\xfc", "x"],
  ["a line end in a value", "x", "a\r\nb"],
  ["LF in a value", "x", "a\nb"],
  ["NUL in a value", "x", "a\0"],
  ["DEL in a value", "x", "a\x7f"],
  ["a space before a value", "x", " a"],
  ["a tab behind a value", "x", "a\t"],
])("%s is malformed, in the table as well, and the table stays in step", (_title, name, value) => {
  const decoder = new HpackDecoder(4_096, LIMITS);
  expect(run(decoder, literal(0x40, name, value)).outcome).toBe("malformed");
  expect(run(decoder, [0xbe])).toEqual({ outcome: "malformed", fields: [name, value] });
  expect(run(decoder, literal(0x40, "ok", "\xfc, \t1")).outcome).toBe("ok");
  expect(run(decoder, [0xbe])).toEqual({ outcome: "ok", fields: ["ok", "\xfc, \t1"] });
  expect(run(decoder, [0xbf]).outcome).toBe("malformed");
});

test("a broken value leaves its name usable, a broken name doesn't", () => {
  const decoder = new HpackDecoder(4_096, LIMITS);
  run(decoder, literal(0x40, "x", "\0"));
  expect(run(decoder, [0x7e, 0x01, 0x61])).toEqual({ outcome: "ok", fields: ["x", "a"] });
  run(decoder, literal(0x40, "X", "a"));
  expect(run(decoder, [0x7e, 0x01, 0x61]).outcome).toBe("malformed");
});

test("what is beyond the limits is dropped, and the table stays in step", () => {
  const decoder = new HpackDecoder(4_096, { listBytes: 100, fields: 2 });
  const block = [...literal(0x40, "a", "1"), ...literal(0x40, "b", "2"), ...literal(0x40, "c", "3")];
  expect(run(decoder, block)).toEqual({ outcome: "too large", fields: ["a", "1", "b", "2"] });
  expect(run(decoder, [0xbe, 0xc0])).toEqual({ outcome: "ok", fields: ["c", "3", "a", "1"] });
  expect(run(decoder, literal(0, "a", "x".repeat(67)))).toEqual({
    outcome: "ok",
    fields: ["a", "x".repeat(67)],
  });
  expect(run(decoder, literal(0, "a", "x".repeat(68))).outcome).toBe("too large");
});

test("a bomb, one large entry that is referred to often, holds no more than the limit", () => {
  const decoder = new HpackDecoder(4_096, { listBytes: 60_000, fields: 20_000 });
  run(decoder, literal(0x40, "x", "y".repeat(4_000)));
  const { outcome, fields } = run(decoder, new Uint8Array(10_000).fill(0xbe));
  expect(outcome).toBe("too large");
  expect(fields).toHaveLength(2 * 14);
});

test("an entry larger than the table empties it", () => {
  const decoder = new HpackDecoder(4_096, LIMITS);
  run(decoder, literal(0x40, "a", "1"));
  expect(run(decoder, literal(0x40, "b", "y".repeat(4_096 - 32))).outcome).toBe("ok");
  expect(run(decoder, [0xbe]).outcome).toBe("compression");
});

test("a new value by the name of an entry that it pushes out", () => {
  const decoder = new HpackDecoder(4_096, LIMITS);
  run(decoder, [0x3f, 0x0f]); // 46 bytes
  run(decoder, literal(0x40, "name", "0123456789"));
  expect(run(decoder, [0x7e, 0x01, 0x61])).toEqual({ outcome: "ok", fields: ["name", "a"] });
  expect(run(decoder, [0xbe])).toEqual({ outcome: "ok", fields: ["name", "a"] });
  expect(run(decoder, [0xbf]).outcome).toBe("compression");
});

test("the newest of many entries are kept, in their order", () => {
  const decoder = new HpackDecoder(4_096, { listBytes: 65_536, fields: 1_000 });
  for (let n = 0; n < 500; n++) run(decoder, literal(0x40, "n", String(n).padStart(3, "0")));
  // 36 bytes each.
  const kept = Array.from({ length: 113 }, (_, n) => String(499 - n).padStart(3, "0"));
  const block = kept.flatMap((_, n) => (n < 65 ? [0xbe + n] : [0xff, n - 65]));
  expect(run(decoder, block).fields.filter((_, i) => i % 2 === 1)).toEqual(kept);
  expect(run(decoder, [0xff, 113 - 65]).outcome).toBe("compression");
});

test("a table of 0 bytes: before our SETTINGS are acknowledged the peer may use it, then it has to make it smaller first", () => {
  const decoder = new HpackDecoder(0, LIMITS);
  expect(run(decoder, literal(0x40, "a", "1")).outcome).toBe("ok");
  expect(run(decoder, [0xbe]).outcome).toBe("ok");
  decoder.onSettingsAck();
  expect(run(decoder, [0x82]).outcome).toBe("compression");

  const other = new HpackDecoder(0, LIMITS);
  other.onSettingsAck();
  expect(run(other, [0x20, ...literal(0x40, "a", "1")]).outcome).toBe("ok");
  expect(run(other, [0xbe]).outcome).toBe("compression");
  expect(run(other, [0x21]).outcome).toBe("compression");
});

test("a table that our SETTINGS allow to be larger", () => {
  const decoder = new HpackDecoder(65_536, LIMITS);
  run(decoder, [0x3f, 0xe1, 0xff, 0x03]); // 65536 bytes
  run(decoder, literal(0x40, "a", "x".repeat(30_000)));
  run(decoder, literal(0x40, "b", "x".repeat(30_000)));
  expect(run(decoder, [0xbf]).fields[0]).toBe("a");
});

test("values that are written out each time are what was written, whatever came before at their name", () => {
  const decoder = new HpackDecoder(4_096, LIMITS);
  // Names whose last values are remembered at the same place.
  const values = ["/a", "/a", "/b", "/a", "", "\0", "\0", "/a", "x".repeat(62), "x".repeat(63), "x".repeat(64), "/a"];
  for (const value of values) {
    for (const [index, name] of [
      [4, ":path"],
      [20, "access-control-allow-origin"],
    ] as const) {
      const first = index < 15 ? [index] : [0x0f, index - 15];
      const outcome = value === "\0" ? "malformed" : "ok";
      const block = [...first, ...integer(value.length), ...Buffer.from(value, "latin1")];
      expect(run(decoder, block)).toEqual({ outcome, fields: [name, value] });
      expect(run(decoder, block)).toEqual({ outcome, fields: [name, value] });
      // Cut short, it is none.
      expect(run(decoder, block.slice(0, -1)).outcome).toBe("compression");
      expect(run(decoder, [0x80 + index])).toMatchObject({ outcome: "ok" });
    }
  }
});

test("random bytes are read or refused, within the limits", () => {
  const decoder = new HpackDecoder(4_096, { listBytes: 2_000, fields: 20 });
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      const { outcome, fields } = run(decoder, bytes);
      expect(["ok", "malformed", "too large", "compression"]).toContain(outcome);
      expect(fields.length).toBeLessThanOrEqual(40);
      expect(fields.join("").length).toBeLessThanOrEqual(2_000);
    }),
    { numRuns: 2_000 },
  );
});
