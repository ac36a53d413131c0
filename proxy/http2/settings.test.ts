/** SETTINGS (RFC 9113, 6.5) as a client may send them. */
import { expect, test } from "vitest";

import { DataPath } from "../../test/support/data-path.ts";
import { RawClient } from "../../test/support/raw-client.ts";
import * as h2 from "../../test/support/http2-frames.ts";

const GET = h2.frame(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, 1, h2.fields(...h2.GET));

/** The head with which a GET behind these SETTINGS is answered. */
async function headBehind(...settings: readonly string[]): Promise<Buffer> {
  await using path = await DataPath.start({ route: null });
  using client = new RawClient(path.port);
  const frames = settings.map((payload) => h2.frame(h2.SETTINGS, 0, 0, payload));
  client.send(Buffer.concat([h2.PREFACE, ...frames, GET]).toString("latin1"));
  const isHead = ({ type }: { type: number }) => type === h2.HEADERS;
  const received = await client.until((text) => h2.framesOf(text).some(isHead));
  return h2.framesOf(received).find(isHead)?.payload ?? Buffer.alloc(0);
}

/** HEADER_TABLE_SIZE. */
const table = (high: number, low: number): string => `\0\x01\0\0${String.fromCharCode(high, low)}`;

test.each([
  ["in one frame", [table(0, 0) + table(0x10, 0)]],
  ["in two", [table(0, 0), table(0x10, 0)]],
])(
  "a table that is made smaller and larger again %s is begun anew: the next head tells both sizes (RFC 7541, 4.2)",
  async (_title, settings) => {
    const head = await headBehind(...settings);
    // 6.3: 0, then 4,096.
    expect([...head.subarray(0, 4)]).toEqual([0x20, 0x3f, 0xe1, 0x1f]);
  },
);

test("a table that stays as it is isn't spoken of", async () => {
  const head = await headBehind(table(0x10, 0));
  expect((head[0] ?? 0) & 0xe0).not.toBe(0x20);
});

test("settings are acknowledged before anything that they allow is sent", async () => {
  await using path = await DataPath.start({ route: { kind: "direct", status: 200, body: Buffer.from("hello") } });
  using client = new RawClient(path.port);
  const noWindow = h2.frame(h2.SETTINGS, 0, 0, "\0\x04\0\0\0\0");
  client.send(Buffer.concat([h2.PREFACE, noWindow, GET]).toString("latin1"));
  const before = await client.until((text) => h2.framesOf(text).some(({ type }) => type === h2.HEADERS));
  client.send(h2.frame(h2.SETTINGS, 0, 0, "\0\x04\0\0\0\x01").toString("latin1"));
  const received = await client.until((text) => h2.framesOf(text).some(({ type }) => type === h2.DATA));
  const since = h2.framesOf(received.slice(before.length)).map(({ type, flags }) => [type, flags]);
  expect(since).toEqual([
    [h2.SETTINGS, h2.ACK],
    [h2.DATA, 0],
  ]);
});
