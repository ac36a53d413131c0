/** Hostile HTTP/2 origins, byte by byte: nothing of theirs reaches a client as part of its own response, and nothing is left behind. */
import { expect, test } from "vitest";

import { clusterOf, DataPath, endpointAt, retryPolicy, TestServer } from "../../test/support/data-path.ts";
import { exchange } from "../../test/support/raw-client.ts";
import { until } from "../../test/support/wait.ts";
import {
  END_STREAM,
  fieldBlock,
  frame,
  frames,
  head,
  rawHttp2Origin,
  uint32,
} from "../../test/support/raw-http2-origin.ts";
import { http2Defaults } from "../cluster/http2-options.ts";

const GET = "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
const OK: [string, string] = [":status", "200"];
const CANCEL = 8;

async function ask(answer: (streamId: number) => Buffer, retries: string[] = [], request = GET) {
  let asked = 0;
  await using origin = await rawHttp2Origin((streamId) => {
    asked++;
    return answer(streamId);
  });
  const cluster = clusterOf([endpointAt(origin.port)], { protocol: "http2" });
  const retry = retries.length === 0 ? undefined : retryPolicy(retries);
  await using path = await DataPath.start({ cluster, action: { retry } });
  const text = await exchange(path.port, request);
  await until(() => path.records.length === 1 && cluster.load.requests === 0);
  expect(cluster.load).toMatchObject({ pending: 0, requests: 0, retries: 0 });
  return { text, record: path.records[0], asked, stats: path.stats };
}

const body = (streamId: number, flags: number, text: string) => frame(frames.data, flags, streamId, text);
const repeat = (count: number, make: (at: number) => Buffer) =>
  Buffer.concat(Array.from({ length: count }, (_, at) => make(at)));

test("what an honest origin sends by hand arrives", async () => {
  const { text, record } = await ask((id) => Buffer.concat([head(id, 0, OK, ["x", "y"]), body(id, END_STREAM, "hi")]));
  expect(text).toMatch(/^HTTP\/1.1 200 OK\r\nx: y\r\n[^]*hi/);
  expect(record).toMatchObject({ status: 200, flags: [] });
});

test.each<[string, [string, string][]]>([
  ["no status", [["x", "y"]]],
  ["two", [OK, OK]],
  ["a status that is no number", [[":status", "2x0"]]],
  ["a status of two digits", [[":status", "20"]]],
  ["101, which HTTP/2 doesn't have", [[":status", "101"]]],
  ["another pseudo-field", [OK, [":path", "/"]]],
  ["an upper-case name", [OK, ["X-A", "y"]]],
  ["connection", [OK, ["connection", "close"]]],
  ["transfer-encoding", [OK, ["transfer-encoding", "chunked"]]],
  ["a name with a space", [OK, ["x a", "y"]]],
  ["a name with a line end", [OK, ["x\r\nset-cookie", "y"]]],
  ["a value with a line end", [OK, ["x", "y\r\nset-cookie: a=b"]]],
  ["a value with NUL", [OK, ["x", "y\0"]]],
  ["a value that ends with a space", [OK, ["x", "y "]]],
  ["a pseudo-field behind another field", [["x", "y"], OK]],
  ["upgrade", [OK, ["upgrade", "websocket"]]],
  ["two content-lengths", [OK, ["content-length", "1"], ["content-length", "2"]]],
  ["a content-length that is none", [OK, ["content-length", "+1"]]],
  ["te other than trailers", [OK, ["te", "gzip"]]],
  [
    "204 and a content-length",
    [
      [":status", "204"],
      ["content-length", "5"],
    ],
  ],
  [
    "more than may be kept of it",
    [OK, ...Array.from({ length: 99 }, (_, n): [string, string] => [`${n}`.repeat(60), "y".repeat(120)])].concat(
      Array.from({ length: 2_500 }, (): [string, string] => ["x".repeat(120), "y".repeat(120)]),
    ) as [string, string][],
  ],
])("sec 8 response splitting over HTTP/2: a head with %s is 502 with UPE", async (_title, fields) => {
  const { text, record } = await ask((id) => Buffer.concat([blocks(id, fields), body(id, END_STREAM, "secret")]));
  expect(text).toMatch(/^HTTP\/1.1 502 /);
  expect(record?.flags).toEqual(["UPE"]);
  expect(text).not.toMatch(/set-cookie|secret/);
});

test.each([
  ["takes its connection, and what else is on it", true, "502"],
  ["ends its stream alone where that is configured", false, "200"],
])("a malformed head %s", async (_title, malformedEndsConnection, other) => {
  // Once both requests are there the first gets no status, and the second a response.
  await using origin = await rawHttp2Origin((id) =>
    id === 1 ? undefined : Buffer.concat([head(1, END_STREAM, ["x", "y"]), head(id, END_STREAM, OK)]),
  );
  const http2 = { ...http2Defaults, malformedEndsConnection };
  const cluster = clusterOf([endpointAt(origin.port)], { protocol: "http2", http2 });
  await using path = await DataPath.start({ cluster });
  const first = exchange(path.port, GET);
  await until(() => path.stats.get("cluster.http2.streams_active") === 1);
  const second = exchange(path.port, GET);
  const statuses = (await Promise.all([first, second])).map((text) => text.slice(9, 12));
  expect(statuses).toEqual(["502", other]);
});

test("sec 10 a head of more fields than allowed is 503 with UR, and its connection goes on", async () => {
  const fields = Array.from({ length: 101 }, (_, n): [string, string] => [`x${n}`, "y"]);
  const { text, record, stats } = await ask((id) =>
    Buffer.concat([blocks(id, [OK, ...fields]), body(id, END_STREAM, "secret")]),
  );
  expect(text).toMatch(/^HTTP\/1.1 503 /);
  expect(record?.flags).toEqual(["UR"]);
  expect(stats.get("cluster.http2.header_overflow")).toBe(1);
  expect(stats.get("upstream_cx_protocol_error")).toBe(0);
});

test("sec 10 a head of 400 kB is 503 with UR, and its connection goes on", async () => {
  const fields = Array.from({ length: 1_700 }, (): [string, string] => ["x".repeat(120), "y".repeat(120)]);
  const { text, record, stats } = await ask((id) =>
    Buffer.concat([blocks(id, [OK, ...fields]), body(id, END_STREAM, "secret")]),
  );
  expect(text).toMatch(/^HTTP\/1.1 503 /);
  expect(record?.flags).toEqual(["UR"]);
  expect(stats.get("upstream_cx_protocol_error")).toBe(0);
});

/** A promise, which our SETTINGS (just acknowledged) forbid. */
function push(streamId: number): Buffer {
  const request: [string, string][] = [
    [":method", "GET"],
    [":scheme", "http"],
    [":path", "/"],
    [":authority", "h"],
  ];
  return frame(frames.pushPromise, 4, streamId, Buffer.concat([uint32(2), fieldBlock(request)]));
}

/** One entry of 4,000 bytes in the table, and 4,000 references to it. */
function bomb(streamId: number): Buffer {
  const value = Buffer.concat([
    Buffer.from([0x7f, ((4_000 - 127) & 0x7f) | 0x80, (4_000 - 127) >> 7]),
    Buffer.alloc(4_000, "y"),
  ]);
  const entry = Buffer.concat([Buffer.from([0x88, 0x40, 1]), Buffer.from("x"), value]);
  return frame(frames.headers, 4, streamId, Buffer.concat([entry, Buffer.alloc(4_000, 0xbe)]));
}

/** A head in as many CONTINUATION frames as it needs. */
function blocks(streamId: number, fields: readonly [string, string][]): Buffer {
  const block = fieldBlock(fields);
  const pieces: Buffer[] = [];
  for (let at = 0; at < block.length; at += 16_000) {
    const last = at + 16_000 >= block.length;
    const type = at === 0 ? frames.headers : 9;
    pieces.push(frame(type, last ? 4 : 0, streamId, block.subarray(at, at + 16_000)));
  }
  return Buffer.concat(pieces);
}

test.each<[string, (id: number) => Buffer]>([
  ["less", (id) => body(id, END_STREAM, "12345")],
  ["more", (id) => body(id, END_STREAM, "1234567890+")],
  ["less, before trailers,", (id) => Buffer.concat([body(id, 0, "12345"), head(id, END_STREAM, ["x", "y"])])],
])("sec 8 a body of %s bytes than its content-length is cut, and its connection goes on", async (_title, rest) => {
  const { text, record, stats } = await ask((id) =>
    Buffer.concat([head(id, 0, OK, ["content-length", "10"]), rest(id)]),
  );
  expect(text).not.toMatch(/\+|0\r\n\r\n$/);
  expect(record?.flags).toEqual(["UPE"]);
  expect(stats.get("upstream_cx_protocol_error")).toBe(0);
});

test("sec 8 a head alone that speaks of content is 502 with UPE, and its connection goes on", async () => {
  const { text, record, stats } = await ask((id) => head(id, END_STREAM, OK, ["content-length", "10"]));
  expect(text).toMatch(/^HTTP\/1.1 502 /);
  expect(record?.flags).toEqual(["UPE"]);
  expect(stats.get("upstream_cx_protocol_error")).toBe(0);
});

test.each<[string, string, string]>([
  ["of HEAD", "HEAD", "200"],
  ["of 204", "GET", "204"],
  ["of 304", "GET", "304"],
])(
  "sec 8 a response %s that has content breaks the protocol, and none of it reaches a client",
  async (_title, method, status) => {
    const { text, record, stats } = await ask(
      (id) => Buffer.concat([head(id, 0, [":status", status], ["x", "y"]), body(id, END_STREAM, "secret")]),
      [],
      GET.replace("GET", method),
    );
    expect(text).not.toContain("secret");
    expect(record?.flags).toEqual(["UPE"]);
    // As in Envoy: the connection carries requests of others.
    expect(stats.get("upstream_cx_protocol_error")).toBe(0);
  },
);

test.each<[string, number, [string, string][]]>([
  ["CANCEL", CANCEL, []],
  ["CANCEL, with content-length", CANCEL, [["content-length", "10"]]],
  ["INTERNAL_ERROR", 2, []],
  ["NO_ERROR", 0, []],
  ["NO_ERROR, with content-length", 0, [["content-length", "10"]]],
])("a response that is reset by %s before its end is cut, and not ended", async (_title, code, fields) => {
  const { text, record } = await ask((id) =>
    Buffer.concat([head(id, 0, OK, ...fields), body(id, 0, "12345"), frame(frames.rstStream, 0, id, uint32(code))]),
  );
  expect(text).not.toMatch(/0\r\n\r\n$/);
  expect(record?.flags).toEqual(["UR"]);
});

test.each<[string, (id: number) => Buffer]>([
  ["on its head", (id) => head(id, END_STREAM, OK)],
  ["on an empty frame", (id) => Buffer.concat([head(id, 0, OK), body(id, 0, "12345"), body(id, END_STREAM, "")])],
  [
    "before a reset by NO_ERROR",
    (id) => Buffer.concat([head(id, 0, OK), body(id, END_STREAM, "12345"), frame(frames.rstStream, 0, id, uint32(0))]),
  ],
  ["on its trailers", (id) => Buffer.concat([head(id, 0, OK), body(id, 0, "12345"), head(id, END_STREAM, ["a", "b"])])],
])("a response with END_STREAM %s is whole", async (_title, answer) => {
  for (const request of [GET, "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 1\r\n\r\na"]) {
    const { text, record } = await ask(answer, [], request);
    expect(text).toMatch(/^HTTP\/1.1 200 [^]*(\r\n0\r\n\r\n$|content-length: 0)/);
    expect(record).toMatchObject({ status: 200, flags: [] });
  }
});

test("a flood of 1xx is 502 with UPE", async () => {
  const { text, record } = await ask((id) => repeat(100, () => head(id, 0, [":status", "103"], ["link", "x"])));
  expect(text).toMatch(/HTTP\/1.1 502 /);
  expect(record?.flags).toEqual(["UPE"]);
});

test.each<[string, (id: number) => Buffer]>([
  ["empty DATA", (id) => repeat(20_000, () => body(id, 0, ""))],
  ["PUSH_PROMISE", (id) => Buffer.concat([frame(frames.settings, 1, 0), push(id)])],
  ["DATA on a stream that isn't there", () => body(99, 0, "x")],
  ["a frame longer than allowed", (id) => frame(frames.data, 0, id, Buffer.alloc(100_000))],
  ["HPACK that is none", (id) => frame(frames.headers, 4, id, Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]))],
  ["SETTINGS on a stream", (id) => frame(frames.settings, 0, id)],
  ["SETTINGS with too many entries", () => frame(frames.settings, 0, 0, Buffer.alloc(6 * 100, 1))],
  ["a flood of PING", () => repeat(20_000, () => frame(frames.ping, 0, 0, "8 bytes."))],
  ["a flood of SETTINGS", () => repeat(20_000, () => frame(frames.settings, 0, 0))],
  ["a flood of PRIORITY", (id) => repeat(20_000, () => frame(frames.priority, 0, id, "5byte"))],
  ["a flood of unknown frames", () => repeat(20_000, () => frame(0xfa, 0, 0, "x"))],
  ["a flood of resets of what is closed", (id) => repeat(20_000, () => frame(frames.rstStream, 0, id, uint32(CANCEL)))],
  ["a flood of WINDOW_UPDATE", (id) => repeat(20_000, () => frame(frames.windowUpdate, 0, id, uint32(1)))],
  ["a window beyond its limit", () => repeat(2, () => frame(frames.windowUpdate, 0, 0, uint32(0x7fff_ffff)))],
  [
    "a window beyond its limit, of the stream",
    (id) => repeat(2, () => frame(frames.windowUpdate, 0, id, uint32(0x7fff_ffff))),
  ],
  ["a WINDOW_UPDATE of 0", (id) => frame(frames.windowUpdate, 0, id, uint32(0))],
  ["an initial window beyond its limit", () => frame(frames.settings, 0, 0, Buffer.from([0, 4, 0x80, 0, 0, 0]))],
  ["ENABLE_PUSH", () => frame(frames.settings, 0, 0, Buffer.from([0, 2, 0, 0, 0, 1]))],
  [
    "more DATA than our windows take",
    (id) => Buffer.concat([head(id, 0, OK), repeat(20, () => body(99, 0, "x".repeat(16_000)))]),
  ],
  [
    "CONTINUATION without end",
    (id) =>
      Buffer.concat([
        frame(frames.headers, 0, id),
        repeat(2_000, () => frame(frames.continuation, 0, id, fieldBlock([["x", "y".repeat(100)]]))),
      ]),
  ],
  [
    "empty CONTINUATION without end",
    (id) => Buffer.concat([frame(frames.headers, 0, id), repeat(20_000, () => frame(frames.continuation, 0, id))]),
  ],
  [
    "another frame within a head",
    (id) => Buffer.concat([frame(frames.headers, 0, id), frame(frames.ping, 0, 0, "8 bytes.")]),
  ],
  ["HPACK's bomb", (id) => Buffer.concat([bomb(id), body(id, END_STREAM, "x")])],
  ["DATA before its head", (id) => body(id, 0, "x")],
  [
    "more DATA than padding leaves room for",
    (id) => Buffer.concat([head(id, 0, OK), frame(frames.data, 8, id, Buffer.from([9, 1]))]),
  ],
  ["a head that nobody asked for", () => head(98, 0, OK)],
  ["a PING of 7 bytes", () => frame(frames.ping, 0, 0, "7 bytes")],
  ["a GOAWAY of 7 bytes", () => frame(frames.goaway, 0, 0, "7 bytes")],
])("%s ends the connection, and the client gets an error or a cut response", async (_title, attack) => {
  const { record, stats } = await ask((id) => attack(id));
  expect(record?.flags).toHaveLength(1);
  await until(() => stats.get("upstream_cx_active") === 0);
});

test("a head that never ends ends the connection, though the request has given up long before", async () => {
  await using origin = await rawHttp2Origin((id) => frame(frames.headers, 0, id, fieldBlock([OK])));
  const cluster = clusterOf([endpointAt(origin.port)], { protocol: "http2" });
  await using path = await DataPath.start({ cluster, action: { timeoutMs: 100 } });
  expect(await exchange(path.port, GET)).toMatch(/^HTTP\/1.1 504 /);
  await until(() => path.stats.get("upstream_cx_active") === 0);
  expect(path.stats.get("upstream_cx_protocol_error")).toBe(1);
});

test("an endpoint that reads nothing any more is given up, whatever has gathered for it", async () => {
  await using origin = await TestServer.raw((socket) => socket.write(frame(frames.settings, 0, 0)));
  const cluster = clusterOf([endpointAt(origin.port)], { protocol: "http2" });
  await using path = await DataPath.start({ cluster, action: { timeoutMs: 200 } });
  const request = GET.replace("\r\n\r\n", `\r\nX-Large: ${"x".repeat(50_000)}\r\n\r\n`);
  // First the kernel's buffers fill, then ours up to its bound.
  while (path.stats.get("upstream_cx_destroy") === 0) {
    await Promise.all(Array.from({ length: 20 }, () => exchange(path.port, request)));
  }
  expect(path.records.every(({ status }) => status >= 500)).toBe(true);
  expect(cluster.load).toMatchObject({ pending: 0, requests: 0 });
});

test("a stream that GOAWAY gives back is asked again on another connection, whatever its method", async () => {
  let first = true;
  const post = "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi";
  const { text, asked } = await ask(
    (id) => {
      if (!first) return head(id, END_STREAM, OK);
      first = false;
      return frame(frames.goaway, 0, 0, uint32(0, 0));
    },
    [],
    post,
  );
  expect(text).toMatch(/^HTTP\/1.1 200/);
  expect(asked).toBe(2);
});

test("an origin that gives everything back is asked twice, not for ever", async () => {
  const { text, asked } = await ask(() => frame(frames.goaway, 0, 0, uint32(0, 0)));
  expect(text).toMatch(/^HTTP\/1.1 503 /);
  expect(asked).toBe(2);
});
