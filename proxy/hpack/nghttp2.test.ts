/** Against another implementation, nghttp2 as node:http2 has it: what either writes, the other reads, and both refuse the same. */
import { once } from "node:events";
import {
  type ClientSessionOptions,
  connect as connectHttp2,
  createServer as createHttp2Server,
  type Http2Server,
} from "node:http2";
import { type AddressInfo, connect, createServer } from "node:net";

import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";

import { until } from "../../test/support/wait.ts";
import * as h2 from "../../test/support/http2-frames.ts";
import { HpackDecoder } from "./decoder.ts";
import { HpackEncoder } from "./encoder.ts";

const LIMITS = { listBytes: 1_000_000, fields: 1_000 };

let server: Http2Server;
/** What each request's fields were, in the order of their streams. */
let seen: string[][] = [];

beforeAll(async () => {
  server = createHttp2Server({ maxHeaderListPairs: 1_000 });
  server.on("stream", (stream, _headers, _flags, raw) => {
    stream.on("error", () => {});
    seen.push(raw as unknown as string[]);
  });
  server.on("sessionError", () => {});
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
});

afterAll(() => server.close());

/** Sends frames, then PING, to node:http2. Resolves to its error code where it gave the connection up, else to 0. */
async function send(frames: readonly Buffer[]): Promise<number> {
  seen = [];
  const socket = connect((server.address() as AddressInfo).port, "127.0.0.1");
  socket.on("error", () => {});
  let received = "";
  try {
    socket.write(
      Buffer.concat([
        ...[h2.PREFACE, h2.frame(h2.SETTINGS, 0, 0), ...frames],
        h2.frame(h2.PING, 0, 0, Buffer.from("whole...")),
      ]),
    );
    for await (const piece of socket) {
      received += (piece as Buffer).toString("latin1");
      for (const { type, flags, payload } of h2.framesOf(received)) {
        if (type === h2.GOAWAY) return payload.readUInt32BE(4);
        if (type === h2.PING && flags === 1) return 0;
      }
    }
  } finally {
    socket.destroy();
  }
  throw new Error("the connection ended without a word");
}

const headers = (streamId: number, block: Uint8Array): Buffer =>
  h2.frame(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, streamId, Buffer.from(block));

const PSEUDO = [":method", "GET", ":scheme", "http", ":path", "/", ":authority", "a.test"];

const name = fc.oneof(
  fc.constantFrom("x-a", "x-b", "accept", "etag", "authorization", "user-agent", "x-request-id"),
  fc.stringMatching(/^x-[a-z0-9!#$%&'*+.^_`|~-]{1,12}$/),
);
const value = fc.oneof(
  fc.constantFrom("", "1", "text/plain", "x".repeat(127), "\xfc".repeat(300)),
  fc.stringMatching(/^[!-~\x80-\xff]{0,150}$/),
);
const messages = fc.array(fc.array(fc.tuple(name, value), { maxLength: 12 }), { minLength: 1, maxLength: 30 });

test("what we write, nghttp2 reads", async () => {
  await fc.assert(
    fc.asyncProperty(messages, async (lists) => {
      const encoder = new HpackEncoder(4_096);
      const sent = lists.map((pairs) => [...PSEUDO, ...pairs.flat()]);
      const blocks = sent.map((fields) => {
        const into = Buffer.alloc(encoder.boundOf(fields));
        return into.subarray(0, encoder.encode(fields, into, 0));
      });
      expect(await send(blocks.map((block, i) => headers(2 * i + 1, block)))).toBe(0);
      expect(seen).toEqual(sent);
    }),
    { numRuns: 50 },
  );
});

test("what nghttp2 writes, we read", async () => {
  await fc.assert(
    fc.asyncProperty(messages, async (lists) => {
      const sent = lists.map((pairs) => [...PSEUDO, ...pairs.flat()]);
      const decoder = new HpackDecoder(4_096, LIMITS);
      for (const [i, payload] of (await blocksOf(sent)).entries()) {
        const read: string[] = [];
        expect(decoder.decode(payload, 0, payload.length, read)).toBe("ok");
        expect(read).toEqual(sent[i]);
      }
    }),
    { numRuns: 50 },
  );
});

/** The blocks that node:http2 writes for requests of these fields. */
async function blocksOf(requests: readonly string[][]): Promise<Buffer[]> {
  let received = "";
  const sink = createServer((socket) => {
    socket.on("error", () => {}).on("data", (piece) => (received += piece.toString("latin1")));
    socket.write(h2.frame(h2.SETTINGS, 0, 0));
  }).listen(0, "127.0.0.1");
  await once(sink, "listening");
  // An option that the types don't have.
  const options: ClientSessionOptions & { strictSingleValueFields: boolean } = { strictSingleValueFields: false };
  const session = connectHttp2(`http://127.0.0.1:${(sink.address() as AddressInfo).port}`, options);
  session.on("error", () => {});
  try {
    for (const fields of requests) session.request(fields, { endStream: true }).on("error", () => {});
    const blocks = () => h2.framesOf(received.slice(h2.PREFACE.length)).filter(({ type }) => type === h2.HEADERS);
    await until(() => blocks().length === requests.length);
    return blocks().map(({ payload }) => payload);
  } finally {
    session.destroy();
    sink.close();
  }
}

/** A block of ours, in which some bytes were changed, taken out or added. */
const mutated = fc
  .tuple(
    fc.array(fc.tuple(name, value), { maxLength: 6 }),
    fc.array(fc.tuple(fc.nat(400), fc.nat(2), fc.oneof(fc.nat(255), fc.constantFrom(0x20, 0x3f, 0x80, 0xbe, 0xff)))),
  )
  .map(([pairs, changes]) => {
    const encoder = new HpackEncoder(4_096);
    const fields = [...PSEUDO, ...pairs.flat()];
    const into = Buffer.alloc(encoder.boundOf(fields));
    const bytes = [...into.subarray(0, encoder.encode(fields, into, 0))];
    for (const [at, kind, byte] of changes)
      bytes.splice(at % (bytes.length + 1), kind === 0 ? 0 : 1, ...(kind === 2 ? [] : [byte]));
    return Uint8Array.from(bytes);
  });

/** Blocks, one after the other on one connection, that were of use once. */
const seeds: readonly (readonly string[])[] = [
  // A name that is none, in Huffman's code.
  ["8286844184" + "1ae92a13" + "4003002d2500"],
  // The table is made smaller, larger, and asked for what is gone.
  ["4001610131", "203fe11fbe"],
  // Too large by one; a change of the size behind a field.
  ["3fe21f"],
  ["8220"],
  // Integers with zeros that need not be.
  ["ff800080"],
  ["40" + "7f8080808000" + "6161"],
];

test("blocks that are none are refused by both, and what both read is the same", async () => {
  const COMPRESSION_ERROR = 9;
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.oneof(mutated, fc.uint8Array({ maxLength: 60 })), { maxLength: 4 }),
      async (blocks) => {
        const decoder = new HpackDecoder(4_096, LIMITS);
        const read: { outcome: string; fields: string[] }[] = [];
        for (const block of blocks) {
          const fields: string[] = [];
          const outcome = decoder.decode(Buffer.from(block), 0, block.length, fields);
          read.push({ outcome, fields });
          if (outcome === "compression") break;
        }
        const expected = read.at(-1)?.outcome === "compression" ? COMPRESSION_ERROR : 0;
        expect(await send(blocks.map((block, i) => headers(2 * i + 1, block)))).toBe(expected);
        // nghttp2 hands out what is a request, without fields that are none.
        const sound = read.filter(({ outcome }) => outcome === "ok").map(({ fields }) => fields);
        const isAllSound = read.every(({ outcome }) => outcome !== "malformed");
        if (isAllSound) expect(sound).toEqual(expect.arrayContaining(seen));
      },
    ),
    { numRuns: 400, examples: seeds.map((blocks) => [blocks.map((hex) => Uint8Array.from(Buffer.from(hex, "hex")))]) },
  );
});
