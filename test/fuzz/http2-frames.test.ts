/**
 * Fuzzing of HTTP/2 by frames. Conversations that are framed in all the ways there are must be answered, by ours as by node:http2; and whatever a broken one does to
 * its own connection, what we write stays HTTP/2, nothing is left behind, and nobody else notices.
 *
 * SLUICE_FUZZ_FRAMES=100000 SLUICE_FUZZ_SEED=7 vitest run --config test/vitest.config.ts test/fuzz/http2-frames
 */
import { createServer } from "node:http2";

import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";

import { DataPath, TestServer } from "../support/data-path.ts";
import { RawClient } from "../support/raw-client.ts";
import { until } from "../support/wait.ts";
import { Http2Client } from "../support/http2-client.ts";
import * as h2 from "../support/http2-frames.ts";
import { conversations, mutations, type RawFrame, textOf } from "./http2-conversations.ts";

const CASES = Number(process.env["SLUICE_FUZZ_FRAMES"] ?? 1_000);
const SEED = Number(process.env["SLUICE_FUZZ_SEED"] ?? 20261121);
const TIMEOUT_MS = 3_600_000;

let path: DataPath;
let reference: TestServer;
let bystander: Http2Client;

beforeAll(async () => {
  // It answers by itself, so that all answers are there as soon as the input was read.
  path = await DataPath.start({ route: null });
  reference = await TestServer.listen(
    createServer((request, response) => {
      request.resume();
      response.writeHead(404).end("no route");
    }),
  );
  bystander = new Http2Client(path.port);
});

afterAll(async () => {
  await bystander?.[Symbol.asyncDispose]();
  await path?.[Symbol.asyncDispose]();
  await reference?.[Symbol.asyncDispose]();
});

const OPENING = Buffer.concat([h2.PREFACE, h2.frame(h2.SETTINGS, 0, 0)]).toString("latin1");

/** Streams that were answered to their end, with nothing reset but what needn't be sent any more. */
const answered = (received: string): number[] =>
  h2
    .framesOf(received)
    .filter(({ type, flags }) => (type === h2.HEADERS || type === h2.DATA) && (flags & h2.END_STREAM) !== 0)
    .map(({ streamId }) => streamId)
    .toSorted((a, b) => a - b);

async function answersOf(port: number, text: string, streams: readonly number[]): Promise<number[]> {
  using client = new RawClient(port);
  client.send(OPENING + text);
  return answered(await client.until((received) => answered(received).length === streams.length));
}

test("a request is answered however it is framed, as by node:http2", { timeout: TIMEOUT_MS }, async () => {
  await fc.assert(
    fc.asyncProperty(conversations, async (frames) => {
      const streams = [...new Set(frames.map(({ streamId }) => streamId))]
        .filter((id) => id > 0)
        .toSorted((a, b) => a - b);
      const text = textOf(frames);
      expect(await answersOf(path.port, text, streams)).toEqual(streams);
      expect(await answersOf(reference.port, text, streams)).toEqual(streams);
    }),
    { numRuns: Math.ceil(CASES / 10), seed: SEED },
  );
});

test("a broken conversation breaks nothing but itself", { timeout: TIMEOUT_MS }, async () => {
  await fc.assert(
    fc.asyncProperty(
      conversations.chain(mutations),
      fc.array(fc.nat(2_000), { maxLength: 4 }),
      async (frames, cuts) => {
        const text = OPENING + textOf(frames);
        using client = new RawClient(path.port);
        const ends = [...cuts.map((cut) => cut % text.length), text.length].toSorted((a, b) => a - b);
        for (const [i, end] of ends.entries()) {
          const piece = text.slice(ends[i - 1] ?? 0, end);
          await new Promise((resolve) => client.socket.write(piece, "latin1", resolve));
        }
        client.socket.end();
        checkOutput(await client.end());
        await until(() => path.stats.get("downstream_cx_active") === 1);
        expect(path.stats.get("downstream_rq_active")).toBe(0);
        path.records.length = 0;
      },
    ),
    { numRuns: CASES, seed: SEED },
  );
  expect((await bystander.ask({})).status).toBe(404);
});

/** Fails where what we wrote is not HTTP/2 by its form. */
function checkOutput(received: string): void {
  const ended = new Set<number>();
  const begun = new Set<number>();
  let bytes = 0;
  for (const { type, flags, streamId, payload } of h2.framesOf(received) as RawFrame[]) {
    bytes += payload.length + 9;
    if (type === h2.HEADERS) begun.add(streamId);
    if (type === h2.DATA || type === h2.HEADERS) {
      expect(begun.has(streamId), "no DATA before a head").toBe(true);
      expect(ended.has(streamId), "nothing behind the end of a stream").toBe(false);
      if ((flags & h2.END_STREAM) !== 0) ended.add(streamId);
    }
    if (type === h2.RST_STREAM) ended.add(streamId);
  }
  // All that we write is whole: nothing of ours is large enough to be cut by the end of the connection.
  expect(received.length).toBe(bytes);
}
