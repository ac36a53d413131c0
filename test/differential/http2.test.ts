/**
 * The same HTTP/2 frames to the native proxy and to a real Envoy: whether a request is answered or its stream ended, by which status, and what
 * the origin saw of it.
 */
import { afterAll, beforeAll, expect, test } from "vitest";

import { RawClient } from "../support/raw-client.ts";
import { type DataPlanes, startDataPlanes } from "../support/data-planes.ts";
import * as h2 from "../support/http2-frames.ts";
import { markOf, type RecordingOrigin, startRecordingOrigin } from "../support/recording-origin.ts";

type Pairs = readonly (readonly [string, string])[];

/** What came of a request: its status, or that it was refused by RST_STREAM, GOAWAY or the end of the connection. */
interface Verdict {
  readonly status: number | "refused";
  readonly seen: readonly string[];
}

const origins: RecordingOrigin[] = [];
let planes: DataPlanes;
let probes = 0;

beforeAll(async () => {
  const [ours, theirs] = [await startRecordingOrigin(), await startRecordingOrigin()];
  origins.push(ours, theirs);
  planes = await startDataPlanes(
    (group, port) => `
gatewayGroups:
  - name: ${group}
    listeners: [{ name: http, protocol: http, address: 127.0.0.1, port: ${port} }]
services:
  - name: raw
    gatewayGroup: ${group}
    upstreams:
      - name: default
        nodes: [{ host: 127.0.0.1, port: ${(group === "default" ? ours : theirs).port} }]
    routes: [{ name: all, paths: [/*] }]
`,
    "a.test",
  );
});

afterAll(async () => {
  await planes?.stop();
  for (const origin of origins) await origin.close();
});

const OPENING = Buffer.concat([h2.PREFACE, h2.frame(h2.SETTINGS, 0, 0)]).toString("latin1");
/** Fields that each data plane makes anew. */
const own = /^(x-request-id|x-forwarded-for|x-envoy-expected-rq-timeout-ms|x-envoy-external-address):/;

/** Whether a frame ends stream 1, or the connection. */
const isEnd = ({ type, streamId, flags }: ReturnType<typeof h2.framesOf>[number]): boolean =>
  type === h2.GOAWAY || (streamId === 1 && (type === h2.RST_STREAM || (flags & h2.END_STREAM) !== 0));

async function verdict(at: 0 | 1, pairs: Pairs, data: readonly string[], trailers?: Pairs): Promise<Verdict> {
  const mark = markOf(++probes);
  const fields = h2.fields(...pairs.map(([name, value]) => [name, value.replaceAll("§", mark)] as const));
  const alone = data.length === 0 && trailers === undefined;
  const frames = [
    h2.frame(h2.HEADERS, h2.END_HEADERS | (alone ? h2.END_STREAM : 0), 1, fields),
    ...data.map((text, i) =>
      h2.frame(h2.DATA, trailers === undefined && i === data.length - 1 ? h2.END_STREAM : 0, 1, text),
    ),
    ...(trailers === undefined
      ? []
      : [h2.frame(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, 1, h2.fields(...trailers))]),
  ];
  const port = [planes.native, planes.envoy][at]?.port ?? 0;
  using client = new RawClient(port);
  client.send(OPENING + Buffer.concat(frames).toString("latin1"));
  const received = await client.until((text) => h2.framesOf(text).some(isEnd)).catch(() => client.received);
  const head = h2.framesOf(received).find(({ type, streamId }) => type === h2.HEADERS && streamId === 1);
  const seen = (origins[at]?.seen(mark) ?? []).map(({ method, path, fields: lines, bodyLength, trailers: count }) =>
    [method, path, bodyLength, count, ...lines.filter((line) => !own.test(line)).toSorted()]
      .join("|")
      .replaceAll(mark, "§"),
  );
  return { status: head === undefined ? "refused" : statusOf(head.payload), seen };
}

/** The status that begins a head: an entry of the static table, or a literal whose name is one (RFC 7541, 6 and appendix A). */
function statusOf(block: Buffer): number {
  const indexed = [200, 204, 206, 304, 400, 404, 500];
  // A change of the table's size may come before it.
  let at = 0;
  while (((block[at] ?? 0) & 0xe0) === 0x20) at++;
  const first = block[at] ?? 0;
  if (first >= 0x88 && first <= 0x8e) return indexed[first - 0x88] ?? 0;
  const length = block[at + 1] ?? 0;
  const bytes = block.subarray(at + 2, at + 2 + (length & 0x7f));
  return (length & 0x80) === 0 ? Number(bytes.toString("latin1")) : Number(huffmanDigits(bytes));
}

/** Digits in HPACK's Huffman code (RFC 7541, appendix B): 0, 1 and 2 are of five bits, the others of six. */
function huffmanDigits(bytes: Buffer): string {
  const bits = [...bytes].map((byte) => byte.toString(2).padStart(8, "0")).join("");
  let digits = "";
  for (let at = 0; digits.length < 3; ) {
    const five = Number.parseInt(bits.slice(at, at + 5), 2);
    if (five <= 2) {
      digits += five;
      at += 5;
    } else {
      digits += Number.parseInt(bits.slice(at, at + 6), 2) - 0b011001 + 3;
      at += 6;
    }
  }
  return digits;
}

const POST: Pairs = [
  [":method", "POST"],
  [":scheme", "http"],
  [":path", "/§"],
  [":authority", "a.test"],
];
const GET: Pairs = [[":method", "GET"], ...POST.slice(1)];
const instead = (name: string, value: string): Pairs => GET.map((pair) => (pair[0] === name ? [name, value] : pair));

const alike: [title: string, pairs: Pairs, data?: string[], trailers?: Pairs][] = [
  ["a GET", GET],
  ["a POST", POST, ["abc", "def"]],
  ["a POST with content-length", [...POST, ["content-length", "6"]], ["abc", "def"]],
  ["an empty body", POST, [""]],
  ["trailers", POST, ["abc"], [["x-t", "1"]]],
  ["a query and escapes", instead(":path", "/§%41?a=%20b&c")],
  ["dots in the path", instead(":path", "/x/../§")],
  ["te: trailers", [...GET, ["te", "trailers"]]],
  ["cookies apart", [...GET, ["cookie", "a=1"], ["cookie", "b=2"]]],
  ["a field twice", [...GET, ["x-a", "1"], ["x-a", "2"]]],
  ["an empty value", [...GET, ["x-a", ""]]],
  ["high bytes in a value", [...GET, ["x-a", "\xfc"]]],
  ["an underscore", [...GET, ["x_a", "1"]]],
  ["what a client says of itself", [...GET, ["x-forwarded-proto", "https"], ["x-envoy-retry-on", "5xx"]]],
  ["content-length beyond the DATA", [...POST, ["content-length", "9"]], ["abc"]],
  ["content-length below the DATA", [...POST, ["content-length", "1"]], ["abc"]],
  ["two content-lengths", [...POST, ["content-length", "3"], ["content-length", "4"]], ["abc"]],
  ["a content-length that is none", [...POST, ["content-length", "+3"]], ["abc"]],
  ["an upper-case name", [...GET, ["X-A", "1"]]],
  ["connection", [...GET, ["connection", "close"]]],
  ["transfer-encoding", [...POST, ["transfer-encoding", "chunked"]], ["0\r\n\r\n"]],
  ["upgrade", [...GET, ["upgrade", "websocket"]]],
  ["no path", GET.filter(([name]) => name !== ":path")],
  ["an empty path", instead(":path", "")],
  ["no method", GET.filter(([name]) => name !== ":method")],
  ["two methods", [[":method", "GET"], ...GET]],
  ["two paths", [[":path", "/x"], ...GET]],
  ["an unknown pseudo-header", [[":x", "1"], ...GET]],
  ["a pseudo-header behind a field", [...GET.slice(0, 3), ["x-a", "1"], ...GET.slice(3)]],
  [":status", [[":status", "200"], ...GET]],
  ["a space in the path", instead(":path", "/§ HTTP/1.1")],
  ["CR LF in the path", instead(":path", "/§\r\nx-a: 1")],
  ["CR LF in the method", instead(":method", "GET / HTTP/1.1\r\nx-a:")],
  ["CR LF in the authority", instead(":authority", "a.test\r\nx-a: 1")],
  ["a fragment", instead(":path", "/§#a")],
  [
    "CONNECT",
    [
      [":method", "CONNECT"],
      [":authority", "a.test:80"],
    ],
  ],
  ["a pseudo-header in trailers", POST, ["abc"], [[":path", "/x"]]],
  ["a space in a name", [...GET, ["x a", "1"]]],
  ["CR LF in a value", [...GET, ["x-a", "1\r\nx-b: 2"]]],
  ["LF in a value", [...GET, ["x-a", "1\nx-b: 2"]]],
  ["NUL in a value", [...GET, ["x-a", "1\0"]]],
];

test.each(alike)("%s", async (_title, pairs, data = [], trailers) => {
  const [ours, theirs] = [await verdict(0, pairs, data, trailers), await verdict(1, pairs, data, trailers)];
  expect(ours).toEqual(theirs);
});

test("nothing that is no request reached the origin", () => {
  expect(origins[0]?.unmarked.filter(({ path }) => path !== "/")).toEqual([]);
  expect(origins[0]?.malformed).toEqual([]);
});
