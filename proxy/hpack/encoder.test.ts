import fc from "fast-check";
import { expect, test } from "vitest";

import { HpackDecoder } from "./decoder.ts";
import { HpackEncoder } from "./encoder.ts";

const LIMITS = { listBytes: 1_000_000, fields: 1_000 };

/** An encoder and the decoder that it writes to. */
class Pair {
  readonly encoder: HpackEncoder;
  readonly decoder: HpackDecoder;

  constructor(tableBytes = 4_096) {
    this.encoder = new HpackEncoder(tableBytes);
    this.decoder = new HpackDecoder(4_096, LIMITS);
  }

  /** Writes the fields, expects them to be read, and returns the block. */
  pass(...fields: string[]): Buffer {
    const into = Buffer.alloc(this.encoder.boundOf(fields) + 3);
    const end = this.encoder.encode(fields, into, 3);
    expect(end).toBeLessThanOrEqual(into.length);
    const read: string[] = [];
    expect(this.decoder.decode(into, 3, end, read)).toBe("ok");
    expect(read).toEqual(fields);
    return into.subarray(3, end);
  }
}

const REQUEST = [
  ...[":method", "POST", ":scheme", "https", ":path", "/grpc.testing.TestService/UnaryCall", ":authority", "a.test"],
  ...["content-type", "application/grpc", "te", "trailers", "user-agent", "grpc-node-js/1.14.0", "x-team", "blue"],
];

test("a message that came before takes a byte for each field", () => {
  const pair = new Pair();
  expect(pair.pass(...REQUEST).length).toBeGreaterThan(80);
  expect(pair.pass(...REQUEST)).toHaveLength(8);
});

test.each([
  ["authorization", "Bearer 0123456789012345678901234567890123456789"],
  ["proxy-authorization", "Basic abc"],
  ["x-api-key", "abc"],
  ["set-cookie", "id=01234567890123456789012345678901; HttpOnly"],
  ["cookie", "id=0123456789"],
])("%s: %s is never indexed, here or farther on", (name, value) => {
  const pair = new Pair();
  const blocks = [pair.pass(name, value), pair.pass(name, value)];
  expect(blocks[0]).toEqual(blocks[1]);
  expect((blocks[0]?.[0] ?? 0) & 0xf0).toBe(0x10);
});

test("a long cookie is indexed", () => {
  const pair = new Pair();
  pair.pass("cookie", "id=01234567890123456789");
  expect(pair.pass("cookie", "id=01234567890123456789")).toHaveLength(1);
});

test("values that never come again leave the others where they are", () => {
  const pair = new Pair();
  pair.pass(...REQUEST);
  let bytes = 0;
  for (let n = 0; n < 400; n++) {
    const id = `${n}`.padStart(32, "0");
    bytes = pair.pass(...REQUEST, "x-request-id", id, "x-of-ours", id, "content-length", `${n}`).length;
  }
  // One byte for each field of the request, two for each name of the others, a length and a value.
  expect(bytes).toBeLessThan(8 + 2 * (2 + 1 + 32) + 6);
});

test("a value that doesn't change any more after many that did is indexed", () => {
  const pair = new Pair();
  for (let n = 0; n < 100; n++) pair.pass("x-mode", `${n}`);
  for (let n = 0; n < 40; n++) pair.pass("x-mode", "steady");
  expect(pair.pass("x-mode", "steady")).toHaveLength(1);
});

test("a value of a quarter of the table isn't indexed", () => {
  const pair = new Pair();
  const value = "x".repeat(1_000);
  expect(pair.pass("x-large", value).length).toBe(pair.pass("x-large", value).length);
});

test("what the peer says of the table is told by the next block: the smallest size, then the last", () => {
  const pair = new Pair();
  pair.pass(...REQUEST);
  pair.encoder.setPeerTableBytes(0);
  pair.encoder.setPeerTableBytes(100);
  pair.encoder.setPeerTableBytes(65_536);
  expect(pair.pass(":method", "GET")).toEqual(Buffer.from([0x20, 0x3f, 0xe1, 0x1f, 0x82]));
  expect(pair.pass(":method", "GET")).toEqual(Buffer.from([0x82]));

  pair.encoder.setPeerTableBytes(0);
  expect(pair.pass(":method", "GET")).toEqual(Buffer.from([0x20, 0x82]));
  expect(pair.pass("x", "y").length).toBe(pair.pass("x", "y").length);

  pair.encoder.setPeerTableBytes(4_096);
  pair.pass("x", "y");
  expect(pair.pass("x", "y")).toHaveLength(1);
});

test("a table that we want smaller than the initial one is made so by the first block", () => {
  const pair = new Pair(0);
  expect(pair.pass(":method", "GET")).toEqual(Buffer.from([0x20, 0x82]));
});

const name = fc.oneof(
  fc.constantFrom("x-a", "x-b", ":path", ":status", "content-length", "cookie", "authorization", "accept", "date"),
  fc.stringMatching(/^[a-z]{1,12}$/),
);
const value = fc.oneof(
  fc.constantFrom("", "1", "2", "200", "/", "text/plain", "x".repeat(127), "\xfc".repeat(300)),
  fc.stringMatching(/^[!-~\xa0-\xff]{0,150}$/),
);
const step = fc.oneof(
  { weight: 1, arbitrary: fc.constantFrom(0, 40, 100, 200, 1_000, 4_096, 100_000) },
  { weight: 8, arbitrary: fc.array(fc.tuple(name, value), { maxLength: 12 }) },
);

test("whatever is written is read, through changes of the table's size and evictions", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const pair = new Pair();
      for (const each of steps) {
        if (typeof each === "number") pair.encoder.setPeerTableBytes(each);
        else pair.pass(...each.flat());
      }
    }),
    { numRuns: 300 },
  );
});
