/** Point 4 of the security checklist (test/security.test.ts) and the floods of 2019 to 2025, as bytes. */
import { expect, test } from "vitest";

import { clusterOf, DataPath, type DataPathOptions, endpointAt, TestServer } from "../../test/support/data-path.ts";
import { RawClient } from "../../test/support/raw-client.ts";
import { pause, until } from "../../test/support/wait.ts";
import * as h2 from "../../test/support/http2-frames.ts";
import { Http2Client } from "../../test/support/http2-client.ts";

type Field = readonly [string, string];

const OPENING = Buffer.concat([h2.PREFACE, h2.frame(h2.SETTINGS, 0, 0)]).toString("latin1");
const PROTOCOL_ERROR = 1;
const REFUSED_STREAM = 7;
const ENHANCE_YOUR_CALM = 11;

async function start(changes: DataPathOptions = {}) {
  const heads: string[] = [];
  const origin = await TestServer.http((request, response) => {
    heads.push(request.rawHeaders.join("|"));
    request.resume().on("end", () => response.end("ok"));
  });
  const path = await DataPath.start({ cluster: clusterOf([endpointAt(origin.port)]), ...changes });
  return {
    heads,
    path,
    async [Symbol.asyncDispose]() {
      await path[Symbol.asyncDispose]();
      await origin[Symbol.asyncDispose]();
    },
  };
}

/** What becomes of a request. */
async function outcome(
  port: number,
  pairs: readonly Field[],
  ...data: readonly Buffer[]
): Promise<"refused" | "answered"> {
  using client = new RawClient(port);
  const end = data.length === 0 ? h2.END_STREAM : 0;
  const head = h2.frame(h2.HEADERS, h2.END_HEADERS | end, 1, h2.fields(...pairs));
  client.send(OPENING + Buffer.concat([head, ...data]).toString("latin1"));
  const decided = (text: string) =>
    h2
      .framesOf(text)
      .find(
        ({ type, streamId }) =>
          type === h2.GOAWAY || (streamId === 1 && (type === h2.HEADERS || type === h2.RST_STREAM)),
      );
  const first = decided(await client.until((text) => decided(text) !== undefined));
  if (first?.type === h2.HEADERS) return "answered";
  if (first?.type === h2.RST_STREAM) expect(first.payload.readUInt32BE(0)).toBe(PROTOCOL_ERROR);
  return "refused";
}

const refused: readonly (readonly [string, readonly Field[]])[] = [
  ["upper-case name", [...h2.GET, ["X-A", "b"]]],
  ["connection", [...h2.GET, ["connection", "close"]]],
  ["keep-alive", [...h2.GET, ["keep-alive", "5"]]],
  ["proxy-connection", [...h2.GET, ["proxy-connection", "close"]]],
  ["transfer-encoding", [...h2.GET, ["transfer-encoding", "chunked"]]],
  ["upgrade", [...h2.GET, ["upgrade", "h2c"]]],
  ["te other than trailers", [...h2.GET, ["te", "gzip"]]],
  ["CRLF in the path", [h2.GET[0], h2.GET[1], [":path", "/ HTTP/1.1\r\nhost: b\r\n\r\n"], h2.GET[3]]],
  ["space in the method", [[":method", "GET / HTTP/1.1"], ...h2.GET.slice(1)]],
  ["no method", h2.GET.slice(1)],
  ["no path", [h2.GET[0], h2.GET[1], h2.GET[3]]],
  ["no authority", h2.GET.slice(0, 3)],
  ["no scheme", [h2.GET[0], h2.GET[2], h2.GET[3]]],
  ["two paths", [...h2.GET, [":path", "/b"]]],
  ["two authorities", [...h2.GET, [":authority", "b.test"]]],
  ["unknown pseudo-header", [...h2.GET, [":a", "b"]]],
  ["pseudo-header behind a field", [["a", "b"], ...h2.GET]],
  ["response's pseudo-header", [...h2.GET, [":status", "200"]]],
  [":protocol without allow_connect", [[":method", "CONNECT"], ...h2.GET.slice(1), [":protocol", "websocket"]]],
  ["two content-lengths", [...h2.GET, ["content-length", "0"], ["content-length", "0"]]],
  ["content-length that is no number", [...h2.GET, ["content-length", "0x1"]]],
  ["content-length without a body", [...h2.GET, ["content-length", "5"]]],
  ["CR in a value", [...h2.GET, ["a", "b\rc"]]],
  ["LF in a value", [...h2.GET, ["a", "b\nc: d"]]],
  ["NUL in a value", [...h2.GET, ["a", "b\0c"]]],
  ["space before a value", [...h2.GET, ["a", " b"]]],
  ["space after a value", [...h2.GET, ["a", "b "]]],
  ["colon in a name", [...h2.GET, ["a:b", "c"]]],
  ["space in a name", [...h2.GET, ["a b", "c"]]],
  ["CRLF in a name", [...h2.GET, ["a\r\nb", "c"]]],
  ["empty name", [...h2.GET, ["", "c"]]],
];

test.each(refused)("sec 4 %s is refused", async (_name, pairs) => {
  await using gateway = await start();
  expect(await outcome(gateway.path.port, pairs)).toBe("refused");
  expect(gateway.heads).toEqual([]);
});

test("sec 4 content-length other than the DATA is refused, and nothing of a second request reaches the origin", async () => {
  await using gateway = await start();
  const post: readonly Field[] = [[":method", "POST"], ...h2.GET.slice(1)];
  const longer = h2.frame(h2.DATA, h2.END_STREAM, 1, "abcGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
  expect(await outcome(gateway.path.port, [...post, ["content-length", "3"]], longer)).toBe("refused");
  const shorter = h2.frame(h2.DATA, h2.END_STREAM, 1, "a");
  expect(await outcome(gateway.path.port, [...post, ["content-length", "3"]], shorter)).toBe("refused");
  await until(() => gateway.path.stats.get("downstream_rq_active") === 0);
  expect(gateway.heads.length).toBeLessThan(2);
});

test("sec 4 what is answered rather than reset never reaches the origin either", async () => {
  await using gateway = await start();
  const { port } = gateway.path;
  expect(await outcome(port, [...h2.GET, ["host", "b.test"]])).toBe("answered");
  expect(await outcome(port, [h2.GET[0], h2.GET[1], [":path", "/a#b"], h2.GET[3]])).toBe("answered");
  expect(gateway.heads).toEqual([]);
  await until(() => gateway.path.records.length === 2);
  expect(gateway.path.records.map(({ details }) => details)).toEqual([
    "http2.multiple_hosts",
    "path_normalization_failed",
  ]);
});

const times = (count: number, bytes: Buffer): string => bytes.toString("latin1").repeat(count);
const openStream = h2.frame(h2.HEADERS, h2.END_HEADERS, 1, h2.fields([":method", "POST"], ...h2.GET.slice(1)));
const begun = h2.frame(h2.HEADERS, 0, 1, h2.fields(...h2.GET));

const floods: readonly (readonly [string, string])[] = [
  ["PING", times(50_000, h2.frame(h2.PING, 0, 0, "12345678"))],
  ["SETTINGS", times(50_000, h2.frame(h2.SETTINGS, 0, 0))],
  ["empty DATA", openStream.toString("latin1") + times(50_000, h2.frame(h2.DATA, 0, 1))],
  ["DATA that is all padding", openStream.toString("latin1") + times(50_000, h2.frame(h2.DATA, 8, 1, "\0"))],
  [
    "trailers on a stream that was reset",
    // A content-length that is none: it is reset at once, and what follows may have been under way.
    h2.frame(h2.HEADERS, h2.END_HEADERS, 1, h2.fields(...h2.GET, ["content-length", "x"])).toString("latin1") +
      times(50_000, h2.frame(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, 1, h2.fields(["a", "b"]))),
  ],
  ["CONTINUATION", begun.toString("latin1") + times(50_000, h2.frame(h2.CONTINUATION, 0, 1, h2.fields(["a", "b"])))],
  [
    "SETTINGS that change",
    // HEADER_TABLE_SIZE and INITIAL_WINDOW_SIZE, up and down.
    times(
      25_000,
      Buffer.concat([
        h2.frame(h2.SETTINGS, 0, 0, "\0\x01\0\0\0\0\0\x04\0\0\0\0"),
        h2.frame(h2.SETTINGS, 0, 0, "\0\x01\0\0\x10\0\0\x04\0\0\xff\xff"),
      ]),
    ),
  ],
  ["WINDOW_UPDATE", times(50_000, h2.frame(h2.WINDOW_UPDATE, 0, 0, "\0\0\0\x01"))],
  ["PRIORITY", times(50_000, h2.frame(2, 0, 1, "\0\0\0\0\0"))],
  ["unknown frames", times(50_000, h2.frame(0xbe, 0, 0))],
  [
    "RST_STREAM on a stream that is over",
    openStream.toString("latin1") + times(50_000, h2.frame(h2.RST_STREAM, 0, 1, "\0\0\0\x08")),
  ],
  ["empty CONTINUATION", begun.toString("latin1") + times(50_000, h2.frame(h2.CONTINUATION, 0, 1))],
];

test.each(floods)("sec 10 a flood of %s ends its connection, and nobody else's", async (_name, text) => {
  await using gateway = await start();
  await using bystander = new Http2Client(gateway.path.port);
  expect((await bystander.ask({})).body).toBe("ok");
  using client = new RawClient(gateway.path.port);
  // It reads nothing, so that answers would pile up.
  client.socket.pause();
  client.send(OPENING + text);
  await until(() => gateway.path.stats.get("downstream_cx_destroy") === 1 || client.closed);
  client.socket.resume();
  expect((await bystander.ask({})).body).toBe("ok");
});

test("sec 10 more fields, or larger ones, than a head may have: the stream is reset, the connection goes on", async () => {
  await using gateway = await start();
  await using client = new Http2Client(gateway.path.port, { maxSendHeaderBlockLength: 1_000_000 });
  expect((await client.ask({})).status).toBe(200);
  const many = Object.fromEntries(Array.from({ length: 150 }, (_, i) => [`x-${i}`, "a"]));
  expect(await client.ask(many)).toMatchObject({ status: 0, resetCode: ENHANCE_YOUR_CALM });
  const large = Object.fromEntries(Array.from({ length: 8 }, (_, i) => [`x-${i}`, "a".repeat(8_000)]));
  expect(await client.ask(large)).toMatchObject({ status: 0, resetCode: ENHANCE_YOUR_CALM });
  expect((await client.ask({})).status).toBe(200);
  expect(gateway.heads.length).toBe(2);
});

test("sec 10 a small head that stands for a large one is reset, and the connection goes on", async () => {
  await using gateway = await start();
  using client = new RawClient(gateway.path.port);
  const get = h2.fields(...h2.GET);
  // RFC 7541, 6.2.1: x with a value of 3,000 bytes goes into the table, where it is entry 62.
  const entry = Buffer.concat([Buffer.from("\x40\x01x\x7f\xb9\x16", "latin1"), Buffer.alloc(3_000, "a")]);
  const bomb = Buffer.concat([get, entry, Buffer.alloc(5_000, 0xbe)]);
  client.send(
    OPENING +
      Buffer.concat([
        h2.frame(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, 1, bomb),
        // The table is in step all the same.
        h2.frame(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, 3, Buffer.concat([get, Buffer.from([0xbe])])),
      ]).toString("latin1"),
  );
  const isAnswer = ({ type, streamId }: { type: number; streamId: number }) => type === h2.HEADERS && streamId === 3;
  const frames = h2.framesOf(await client.until((text) => h2.framesOf(text).some(isAnswer)));
  const reset = frames.find(({ type, streamId }) => type === h2.RST_STREAM && streamId === 1);
  expect(reset?.payload.readUInt32BE(0)).toBe(ENHANCE_YOUR_CALM);
  expect(gateway.heads.length).toBe(1);
  expect(gateway.heads[0]).toContain(`x|${"a".repeat(3_000)}`);
});

test("sec 10 streams beyond the limit are refused one by one, until it is too much", async () => {
  await using origin = await TestServer.http(() => {});
  await using path = await DataPath.start({ cluster: clusterOf([endpointAt(origin.port)]) });
  using client = new RawClient(path.port);
  const heads = (from: number, count: number) =>
    Array.from({ length: count }, (_, i) =>
      h2.frame(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, 2 * (from + i) + 1, h2.fields(...h2.GET)).toString("latin1"),
    ).join("");
  const resets = (text: string) => h2.framesOf(text).filter(({ type }) => type === h2.RST_STREAM);
  client.send(OPENING + heads(0, 103));
  const refusals = resets(await client.until((text) => resets(text).length >= 3));
  expect(refusals.map(({ streamId, payload }) => [streamId, payload.readUInt32BE(0)])).toEqual([
    [201, REFUSED_STREAM],
    [203, REFUSED_STREAM],
    [205, REFUSED_STREAM],
  ]);
  expect(path.stats.get("downstream_rq_total")).toBe(100);
  client.send(heads(103, 1_000));
  const end = await client.until((text) => goawayOf(text) !== undefined);
  expect(goawayOf(end)?.payload.readUInt32BE(4)).toBe(ENHANCE_YOUR_CALM);
});

const unended = (id: number): string =>
  h2.frame(h2.HEADERS, h2.END_STREAM, id, h2.fields(...h2.GET)).toString("latin1");
const whole = (id: number): string =>
  h2.frame(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, id, h2.fields(...h2.GET)).toString("latin1");
const goawayOf = (text: string) => h2.framesOf(text).findLast(({ type }) => type === h2.GOAWAY);

test.each([
  ["without its last frame", unended(1)],
  ["amid a frame", whole(1).slice(0, 30)],
  ["behind a request that was answered", whole(1) + unended(3)],
])("sec 10 a head that stops %s is given up", async (_title, text) => {
  await using gateway = await start({ http: { requestHeadersTimeoutMs: 300 } });
  using client = new RawClient(gateway.path.port);
  const got = await client.send(OPENING + text).end();
  expect(goawayOf(got)?.payload.readUInt32BE(4)).toBe(ENHANCE_YOUR_CALM);
  expect(gateway.path.stats.get("downstream_rq_header_timeout")).toBe(1);
});

test("sec 10 a head that drips is given up, however often something of it comes", async () => {
  await using gateway = await start({ http: { requestHeadersTimeoutMs: 300 } });
  using client = new RawClient(gateway.path.port);
  const long = h2.frame(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, 1, "\0".repeat(10_000)).toString("latin1");
  client.send(OPENING + long.slice(0, 9));
  const drip = setInterval(() => client.send(long.slice(9, 10)), 20);
  const got = await client.end();
  clearInterval(drip);
  expect(goawayOf(got)?.payload.readUInt32BE(4)).toBe(ENHANCE_YOUR_CALM);
});

test("sec 10 a client that is only idle, before and between its requests, stays", async () => {
  await using gateway = await start({ http: { requestHeadersTimeoutMs: 100 } });
  await using client = new Http2Client(gateway.path.port);
  // Four times as long as a head may take.
  await pause(400);
  expect((await client.ask({})).body).toBe("ok");
  await pause(400);
  expect((await client.ask({})).body).toBe("ok");
  expect(client.session.destroyed).toBe(false);
  expect(gateway.path.stats.get("downstream_cx_total")).toBe(1);
});

test("sec 10 a head that hangs is given up while other requests are under way, too", async () => {
  await using origin = await TestServer.http(() => {});
  await using path = await DataPath.start({
    cluster: clusterOf([endpointAt(origin.port)]),
    http: { requestHeadersTimeoutMs: 200 },
  });
  using client = new RawClient(path.port);
  const got = await client.send(OPENING + whole(1) + unended(3)).end();
  expect(goawayOf(got)?.payload.readUInt32BE(4)).toBe(ENHANCE_YOUR_CALM);
});
