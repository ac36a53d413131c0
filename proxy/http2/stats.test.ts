/** What the codec counts, by Envoy's names (`http2.*`, `cluster.NAME.http2.*`), and what logs say of streams that a client broke. */
import { expect, test } from "vitest";

import { clusterOf, DataPath, type DataPathOptions, endpointAt, TestServer } from "../../test/support/data-path.ts";
import { RawClient } from "../../test/support/raw-client.ts";
import { until } from "../../test/support/wait.ts";
import * as h2 from "../../test/support/http2-frames.ts";
import { frame, frames, head, rawHttp2Origin, uint32 } from "../../test/support/raw-http2-origin.ts";
import { edgeDefaults } from "./options.ts";

const OPENING = Buffer.concat([h2.PREFACE, h2.frame(h2.SETTINGS, 0, 0)]);
const CANCEL = 8;
const REFUSED_STREAM = 7;
type Field = readonly [string, string];

const request = (id: number, fields: readonly Field[] = h2.GET, end = true): Buffer =>
  h2.frame(h2.HEADERS, h2.END_HEADERS | (end ? h2.END_STREAM : 0), id, h2.fields(...fields));
const POST: readonly Field[] = [[":method", "POST"], ...h2.GET.slice(1)];

/** An origin that never answers, and a client that writes frames. */
async function start(changes: DataPathOptions = {}) {
  const origin = await TestServer.http(() => {});
  const path = await DataPath.start({ cluster: clusterOf([endpointAt(origin.port)]), ...changes });
  const client = new RawClient(path.port);
  const send = (...parts: readonly Buffer[]) => void client.send(Buffer.concat(parts).toString("latin1"));
  send(OPENING);
  return {
    ...{ path, client, send },
    get: (name: string) => path.stats.get(`http2.${name}`),
    async [Symbol.asyncDispose]() {
      client[Symbol.dispose]();
      await path[Symbol.asyncDispose]();
      await origin[Symbol.asyncDispose]();
    },
  };
}

test("streams that are there, and how they end", async () => {
  await using rig = await start();
  rig.send(request(1), request(3));
  await until(() => rig.get("streams_active") === 2);
  rig.send(h2.frame(h2.RST_STREAM, 0, 1, uint32(CANCEL)));
  await until(() => rig.get("rx_reset") === 1 && rig.get("streams_active") === 1);
  rig.send(h2.frame(h2.WINDOW_UPDATE, 0, 3, uint32(0)));
  await until(() => rig.get("tx_reset") === 1 && rig.get("streams_active") === 0);
  expect(rig.get("rx_messaging_error")).toBe(1);
  expect(rig.get("goaway_sent")).toBe(0);
});

test("heads that are refused, and trailers", async () => {
  await using rig = await start({ http: { headersWithUnderscores: "reject" } });
  rig.send(request(1, [...h2.GET, ["X-A", "b"]]));
  rig.send(request(3, [...h2.GET, ...Array.from({ length: 150 }, (_, i) => [`x-${i}`, "a"] as const)]));
  rig.send(request(5, [...h2.GET, ["a_b", "c"]]));
  rig.send(request(7, POST, false), request(7, [["a", "b"]]));
  await until(() => rig.get("trailers") === 1);
  expect(rig.get("rx_messaging_error")).toBe(1);
  expect(rig.get("header_overflow")).toBe(1);
  expect(rig.get("requests_rejected_with_underscores_in_headers")).toBe(1);
});

test("names with underscores that are left out", async () => {
  await using rig = await start({ http: { headersWithUnderscores: "drop" } });
  rig.send(request(1, [...h2.GET, ["a_b", "c"], ["a_c", "c"]]));
  await until(() => rig.get("dropped_headers_with_underscores") === 2);
});

test.each<[string, Buffer]>([
  ["inbound_empty_frames_flood", Buffer.concat([request(1, POST, false), repeat(h2.frame(h2.DATA, 0, 1))])],
  ["inbound_priority_frames_flood", repeat(h2.frame(2, 0, 1, "\0\0\0\0\0"))],
  ["inbound_window_update_frames_flood", repeat(h2.frame(h2.WINDOW_UPDATE, 0, 0, uint32(1)))],
  ["outbound_control_flood", repeat(h2.frame(h2.PING, 0, 0, "12345678"))],
])("%s", async (name, bytes) => {
  await using rig = await start();
  rig.send(bytes);
  await rig.client.end();
  expect(rig.get(name)).toBe(1);
  expect(rig.get("goaway_sent")).toBe(1);
  await until(() => rig.get("streams_active") === 0);
});

function repeat(bytes: Buffer): Buffer {
  return Buffer.concat(Array.from({ length: 5_000 }, () => bytes));
}

test("keepalive_timeout", async () => {
  await using rig = await start({
    http: { http2: { ...edgeDefaults, keepaliveIntervalMs: 20, keepaliveTimeoutMs: 20 } },
  });
  await rig.client.end();
  expect(rig.get("keepalive_timeout")).toBe(1);
});

test("pending_send_bytes: what waits for a client's window, until it is gone", async () => {
  await using origin = await TestServer.http((_request, response) => void response.end(Buffer.alloc(100_000)));
  await using rig = await start({ cluster: clusterOf([endpointAt(origin.port)]) });
  rig.send(request(1));
  // 65,535 are let through.
  await until(() => rig.get("pending_send_bytes") > 0);
  rig.send(h2.frame(h2.RST_STREAM, 0, 1, uint32(CANCEL)));
  await until(() => rig.get("streams_active") === 0);
  expect(rig.get("pending_send_bytes")).toBe(0);
});

test("tx_flush_timeout: a response that a client doesn't take", async () => {
  await using rig = await start({
    route: { kind: "direct", status: 200, body: Buffer.alloc(100_000) },
    http: { streamIdleTimeoutMs: 50 },
  });
  rig.send(request(1));
  await until(() => rig.get("tx_flush_timeout") === 1);
});

test("of a cluster's connections by themselves", async () => {
  await using origin = await rawHttp2Origin((id) =>
    id === 1
      ? frame(frames.rstStream, 0, id, uint32(REFUSED_STREAM))
      : Buffer.concat([head(id, 0, [":status", "200"]), head(id, 1, ["a", "b"])]),
  );
  await using rig = await start({ cluster: clusterOf([endpointAt(origin.port)], { protocol: "http2" }) });
  const get = (name: string) => rig.path.stats.get(`cluster.http2.${name}`);
  rig.send(request(1));
  await until(() => get("rx_reset") === 1);
  rig.send(request(3));
  await until(() => get("trailers") === 1 && get("streams_active") === 0);
  expect(rig.get("trailers")).toBe(0);
});

test("stream_refused_errors: streams beyond the limit", async () => {
  await using rig = await start({ http: { http2: { ...edgeDefaults, maxConcurrentStreams: 1 } } });
  rig.send(request(1), request(3));
  await until(() => rig.get("stream_refused_errors") === 1);
  expect(rig.get("streams_active")).toBe(1);
});

/** Flag and details. */
type Logged = readonly [string, string];

test.each<[string, Buffer, Logged]>([
  ["on a stream", h2.frame(h2.WINDOW_UPDATE, 0, 1, uint32(0)), ["DPE", "http2.violation.of.messaging.rule"]],
  ["behind a stream's end", h2.frame(h2.DATA, 0, 1, "x"), ["DPE", "http2.stream_closed"]],
  ["on its connection", h2.frame(h2.PING, 0, 0, "1234567"), ["DPE", "codec_error:FRAME_SIZE_ERROR"]],
  ["not, and gives up its request", h2.frame(h2.RST_STREAM, 0, 1, uint32(CANCEL)), ["DR", "http2.remote_reset"]],
  ["not, and has no use for its request", h2.frame(h2.RST_STREAM, 0, 1, uint32(0)), ["", ""]],
])("a client that breaks the protocol %s", async (_title, bytes, [flag, details]) => {
  await using rig = await start();
  rig.send(request(1));
  await until(() => rig.path.stats.get("upstream_rq_active") === 1);
  rig.send(bytes);
  await until(() => rig.path.records.length === 1);
  expect(rig.path.records[0]).toMatchObject({ flags: flag === "" ? [] : [flag], details, status: 0 });
  expect(rig.path.stats.get("downstream_rq_rx_reset")).toBe(1);
});

test.each<[string, readonly Field[], Logged]>([
  ["a field that is none", [...h2.GET, ["X-A", "b"]], ["DPE", "http2.invalid.header.field"]],
  ["a field of HTTP/1", [...h2.GET, ["connection", "close"]], ["DPE", "http2.invalid.header.field"]],
  ["host twice", [...h2.GET, ["host", "a.test"], ["host", "a.test"]], ["DPE", "http2.invalid.header.field"]],
  ["no path", h2.GET.filter(([name]) => name !== ":path"), ["DPE", "http2.violation.of.messaging.rule"]],
  [
    "too many fields",
    [...h2.GET, ...Array.from({ length: 150 }, () => ["x", "a"] as const)],
    ["DR", "http2.too_many_headers"],
  ],
])("a head with %s is logged, and counted as a request", async (_title, fields, [flag, details]) => {
  await using rig = await start();
  rig.send(request(1, fields));
  await until(() => rig.path.records.length === 1);
  expect(rig.path.records[0]).toMatchObject({ flags: [flag], details, status: 0, protocol: "HTTP/2" });
  expect(rig.path.stats.get("downstream_rq_total")).toBe(1);
  expect(rig.path.stats.get("downstream_rq_active")).toBe(0);
  expect(rig.path.stats.get("downstream_cx_protocol_error")).toBe(0);
});

test("malformed messages end the connection where that is asked for", async () => {
  await using rig = await start({ http: { http2: { ...edgeDefaults, malformedEndsConnection: true } } });
  rig.send(request(1));
  await until(() => rig.get("streams_active") === 1);
  rig.send(request(3, [...h2.GET, ["X-A", "b"]]));
  const received = await rig.client.end();
  expect(h2.framesOf(received).at(-1)?.type).toBe(h2.GOAWAY);
  await until(() => rig.path.records.length === 2);
  expect(rig.path.records.map(({ flags }) => flags)).toEqual([["DPE"], ["DPE"]]);
});
