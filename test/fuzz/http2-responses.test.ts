/**
 * Fuzzing of HTTP/2 origins by frames. A response that is framed in any way there is arrives as it is; and whatever a broken one does to its own connection, each client gets one response or
 * the end of its connection, nothing is left behind, and requests to others go on.
 *
 * SLUICE_FUZZ_FRAMES=100000 SLUICE_FUZZ_SEED=7 vitest run --config test/vitest.config.ts test/fuzz/http2-responses
 */
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";

import { clusterOf, DataPath, endpointAt, type TestServer } from "../support/data-path.ts";
import { exchange } from "../support/raw-client.ts";
import { until } from "../support/wait.ts";
import { rawHttp2Origin } from "../support/raw-http2-origin.ts";
import { mutations, responses, textOf } from "./http2-conversations.ts";

const CASES = Number(process.env["SLUICE_FUZZ_FRAMES"] ?? 1_000);
const SEED = Number(process.env["SLUICE_FUZZ_SEED"] ?? 20261121);
const TIMEOUT_MS = 3_600_000;
const GET = "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

/** What the origin answers with, in these pieces. */
let pieces: readonly string[] = [];
let origin: TestServer;
let path: DataPath;
let cluster: ReturnType<typeof clusterOf>;

beforeAll(async () => {
  // Each connection answers once, so that all conversations are about stream 1.
  origin = await rawHttp2Origin((_, socket) => {
    void (async () => {
      for (const piece of pieces) await new Promise((resolve) => socket.write(piece, "latin1", resolve));
      socket.end();
    })();
    return undefined;
  });
  cluster = clusterOf([endpointAt(origin.port)], { protocol: "http2" });
  path = await DataPath.start({ cluster });
});

afterAll(async () => {
  await path?.[Symbol.asyncDispose]();
  await origin?.[Symbol.asyncDispose]();
});

/** What a client gets for these bytes. */
async function answerTo(text: string, cuts: readonly number[]): Promise<string> {
  const ends = [...cuts.map((cut) => cut % (text.length + 1)), text.length].toSorted((a, b) => a - b);
  pieces = ends.map((end, i) => text.slice(ends[i - 1] ?? 0, end)).filter((piece) => piece !== "");
  path.records.length = 0;
  const received = await exchange(path.port, GET);
  await until(() => path.records.length === 1 && path.stats.get("upstream_cx_active") === 0);
  expect(cluster.load).toMatchObject({ pending: 0, requests: 0, connections: 0 });
  return received;
}

/** The body of a response in chunks. */
function bodyOf(received: string): string {
  let body = "";
  let at = received.indexOf("\r\n\r\n", received.indexOf("HTTP/1.1 200")) + 4;
  for (;;) {
    const end = received.indexOf("\r\n", at);
    const length = Number.parseInt(received.slice(at, end), 16);
    if (!(length > 0)) return body;
    body += received.slice(end + 2, end + 2 + length);
    at = end + 4 + length;
  }
}

const cuts = fc.array(fc.nat(2_000), { maxLength: 4 });

test("a response arrives however it is framed", { timeout: TIMEOUT_MS }, async () => {
  await fc.assert(
    fc.asyncProperty(responses, cuts, async ({ frames, body }, at) => {
      const received = await answerTo(textOf(frames), at);
      expect(received).toMatch(/^(HTTP\/1.1 103 [^]*\r\n\r\n)*HTTP\/1.1 200 OK\r\n/);
      if (body.length > 0) expect(bodyOf(received)).toBe(body.toString("latin1"));
      expect(path.records[0]).toMatchObject({ status: 200, flags: [] });
    }),
    { numRuns: Math.ceil(CASES / 4), seed: SEED },
  );
});

test("a broken response breaks nothing but itself", { timeout: TIMEOUT_MS }, async () => {
  const broken = responses.chain(({ frames }) => mutations(frames));
  await fc.assert(
    fc.asyncProperty(broken, cuts, async (frames, at) => {
      const received = await answerTo(textOf(frames), at);
      // A 1xx may stand before the only head that there is.
      expect(received).toMatch(/^(HTTP\/1.1 1\d\d [^]*?\r\n\r\n)*(HTTP\/1.1 [2-5]\d\d |$)/);
      expect(
        path.records[0]?.flags.length === 0 || path.records[0]?.status !== 200 || !received.endsWith("\r\n0\r\n\r\n"),
      ).toBe(true);
    }),
    { numRuns: CASES, seed: SEED },
  );
});
