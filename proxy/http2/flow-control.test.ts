/** Flow control (RFC 9113, 5.2 and 6.9), turns of streams, and what a peer can leave untaken, by frames. */
import { expect, test } from "vitest";

import { clusterOf, DataPath, endpointAt, TestServer } from "../../test/support/data-path.ts";
import { RawClient } from "../../test/support/raw-client.ts";
import { standstill, until } from "../../test/support/wait.ts";
import * as h2 from "../../test/support/http2-frames.ts";

const INITIAL_WINDOW_SIZE = 4;
const FLOW_CONTROL_ERROR = 3;

const uint32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};
const settings = (id: number, value: number): Buffer =>
  h2.frame(h2.SETTINGS, 0, 0, Buffer.concat([Buffer.from([0, id]), uint32(value)]));
const update = (streamId: number, bytes: number): Buffer => h2.frame(h2.WINDOW_UPDATE, 0, streamId, uint32(bytes));
const get = (streamId: number, path = "/"): Buffer =>
  h2.frame(
    h2.HEADERS,
    h2.END_HEADERS | h2.END_STREAM,
    streamId,
    h2.fields([":method", "GET"], [":scheme", "http"], [":path", path], [":authority", "a.test"]),
  );

/** A connection that has begun with SETTINGS. */
class Frames extends RawClient {
  write(...frames: readonly Buffer[]): this {
    return this.send(Buffer.concat(frames).toString("latin1"));
  }

  open(...frames: readonly Buffer[]): this {
    return this.write(h2.PREFACE, ...frames);
  }

  get frames() {
    return h2.framesOf(this.received);
  }

  /** Body bytes that have come, on one stream or all. */
  bytes(streamId?: number): number {
    return this.frames
      .filter((frame) => frame.type === h2.DATA && (streamId === undefined || frame.streamId === streamId))
      .reduce((sum, { payload }) => sum + payload.length, 0);
  }

  hasEnded(streamId: number): boolean {
    return this.frames.some((frame) => frame.streamId === streamId && isEnd(frame));
  }

  error(type: number): number | undefined {
    const frame = this.frames.findLast((each) => each.type === type);
    return frame?.payload.readUInt32BE(type === h2.GOAWAY ? 4 : 0);
  }
}

const isEnd = ({ type, flags }: { type: number; flags: number }): boolean =>
  (type === h2.DATA || type === h2.HEADERS) && (flags & h2.END_STREAM) !== 0;

/** An origin whose answers are as long as the path says. */
async function start() {
  const origin = await TestServer.http((request, response) => {
    request.resume().on("end", () => response.end(Buffer.alloc(Number(request.url?.slice(1)), "x")));
  });
  const path = await DataPath.start({ cluster: clusterOf([endpointAt(origin.port)]) });
  return {
    path,
    async [Symbol.asyncDispose]() {
      await path[Symbol.asyncDispose]();
      await origin[Symbol.asyncDispose]();
    },
  };
}

test("a stream sends as much as its window allows, whatever becomes of it, and not a byte more", async () => {
  await using it = await start();
  using client = new Frames(it.path.port);
  client.open(settings(INITIAL_WINDOW_SIZE, 10), get(1, "/100"));
  await until(() => client.bytes() === 10);
  client.write(update(1, 5));
  await until(() => client.bytes() === 15);
  // The window goes to 6 below zero, and with 6 more is 0 again.
  client.write(settings(INITIAL_WINDOW_SIZE, 4), update(1, 6));
  await until(() => client.frames.filter(({ type, flags }) => type === h2.SETTINGS && flags === 1).length === 2);
  client.write(h2.frame(h2.PING, 0, 0, "12345678"));
  await until(() => client.frames.some(({ type }) => type === h2.PING));
  expect(client.bytes()).toBe(15);
  client.write(settings(INITIAL_WINDOW_SIZE, 1_000));
  await until(() => client.hasEnded(1));
  expect(client.bytes()).toBe(100);
});

test("an empty response needs no window; trailers and ends come behind what waits", async () => {
  await using it = await start();
  using client = new Frames(it.path.port);
  client.open(settings(INITIAL_WINDOW_SIZE, 0), get(1, "/0"), get(3, "/1"));
  await until(() => client.hasEnded(1));
  expect(client.hasEnded(3)).toBe(false);
  client.write(update(3, 1));
  await until(() => client.hasEnded(3));
});

test("streams take turns within the connection's window, and a small one needn't wait for a large one", async () => {
  await using it = await start();
  using client = new Frames(it.path.port);
  client.open(settings(INITIAL_WINDOW_SIZE, 10_000_000), get(1, "/3000000"), get(3, "/3000000"));
  // The window of the connection as it is without a word.
  await until(() => client.bytes() === 65_535);
  client.write(get(5, "/10"));
  const hasBegun = (id: number) => client.frames.some(({ type, streamId }) => type === h2.HEADERS && streamId === id);
  await until(() => hasBegun(3) && hasBegun(5));
  // Both large ones have something that waits: whose turn it is says nothing where the origin has not sent the other's yet.
  await standstill(() => it.path.stats.get("http2.pending_send_bytes"));
  const before = client.frames.length;
  client.write(update(0, 120_000));
  await until(() => client.bytes() === 185_535);
  expect(client.hasEnded(5)).toBe(true);
  const turns = client.frames.slice(before).filter(({ type }) => type === h2.DATA);
  const sent = (id: number) =>
    turns.filter(({ streamId }) => streamId === id).reduce((sum, { payload }) => sum + payload.length, 0);
  // Each has about half: they differ by a frame or two.
  expect(Math.abs(sent(1) - sent(3))).toBeLessThanOrEqual(2 * 16_384);
  client.write(update(0, 10_000_000));
  await until(() => client.hasEnded(1) && client.hasEnded(3));
  expect(client.bytes()).toBe(6_000_010);
});

test("a window beyond 2^31-1 ends its stream, or the connection", async () => {
  await using it = await start();
  using one = new Frames(it.path.port);
  one.open(settings(INITIAL_WINDOW_SIZE, 10), get(1, "/100"), update(1, 2 ** 31 - 1));
  await until(() => one.error(h2.RST_STREAM) === FLOW_CONTROL_ERROR);
  one.write(update(0, 2 ** 31 - 1));
  await until(() => one.error(h2.GOAWAY) === FLOW_CONTROL_ERROR);
  using two = new Frames(it.path.port);
  two.open(
    settings(INITIAL_WINDOW_SIZE, 10),
    get(1, "/100"),
    update(1, 2 ** 31 - 100),
    settings(INITIAL_WINDOW_SIZE, 1_000),
  );
  await until(() => two.error(h2.GOAWAY) === FLOW_CONTROL_ERROR);
});

test("a client that sends more than it may is refused; one that keeps to it is given room as its body goes on", async () => {
  await using it = await start();
  const post = h2.frame(
    h2.HEADERS,
    h2.END_HEADERS,
    1,
    h2.fields([":method", "POST"], [":scheme", "http"], [":path", "/1"], [":authority", "a.test"]),
  );
  const data = h2.frame(h2.DATA, 0, 1, Buffer.alloc(16_000));
  using honest = new Frames(it.path.port);
  honest.open(settings(INITIAL_WINDOW_SIZE, 10), post);
  const updates = () => honest.frames.filter(({ type, streamId }) => type === h2.WINDOW_UPDATE && streamId === 1);
  for (let sent = 0; sent < 20; sent++) {
    const allowed = () => 65_536 + updates().reduce((sum, { payload }) => sum + payload.readUInt32BE(0), 0);
    await until(() => allowed() >= (sent + 1) * 16_000);
    honest.write(data);
  }
  // Not one for each frame.
  expect(updates().length).toBeLessThan(12);
  honest.write(h2.frame(h2.DATA, h2.END_STREAM, 1));
  await until(() => honest.hasEnded(1));

  await using stuck = await TestServer.http((request) => void request.pause());
  await using path = await DataPath.start({ cluster: clusterOf([endpointAt(stuck.port)]) });
  using greedy = new Frames(path.port);
  greedy.open(settings(INITIAL_WINDOW_SIZE, 10), post);
  for (let sent = 0; sent < 1_000 && greedy.error(h2.RST_STREAM) === undefined && !greedy.ended; sent++) {
    await new Promise((resolve) => greedy.socket.write(data, resolve));
  }
  await until(
    () => greedy.error(h2.RST_STREAM) === FLOW_CONTROL_ERROR || greedy.error(h2.GOAWAY) === FLOW_CONTROL_ERROR,
  );
});

test("a client that takes nothing holds the origin back, and is given up when our answers pile up", async () => {
  let written = 0;
  await using origin = await TestServer.http((_request, response) => {
    const more = () => {
      while (written < 200_000_000) {
        written += 100_000;
        if (!response.write(Buffer.alloc(100_000))) return void response.once("drain", more);
      }
    };
    more();
  });
  await using path = await DataPath.start({ cluster: clusterOf([endpointAt(origin.port)]) });
  using client = new Frames(path.port);
  client.socket.pause();
  client.open(settings(INITIAL_WINDOW_SIZE, 2 ** 31 - 1), update(0, 2 ** 30), get(1));
  await until(() => written > 0);
  expect(await standstill(() => written)).toBeLessThan(30_000_000);
  // Each costs us a head; nothing of them leaves.
  for (let id = 3; id < 400_000 && path.stats.get("downstream_cx_destroy") === 0; id += 400) {
    const heads = Array.from({ length: 200 }, (_, i) =>
      h2.frame(
        h2.HEADERS,
        h2.END_HEADERS | h2.END_STREAM,
        id + 2 * i,
        h2.fields([":method", "BREW"], ...h2.GET.slice(1)),
      ),
    );
    await new Promise((resolve) => client.socket.write(Buffer.concat(heads), resolve));
  }
  await until(() => path.stats.get("downstream_cx_destroy") === 1);
  expect(path.stats.get("downstream_rq_active")).toBe(0);
  expect(path.stats.get("upstream_cx_active")).toBe(0);
});

test("a client that doesn't take its last response is cut off when a stream may be idle no longer", async () => {
  await using origin = await TestServer.http((_request, response) => void response.end(Buffer.alloc(30_000_000)));
  await using path = await DataPath.start({
    cluster: clusterOf([endpointAt(origin.port)]),
    http: { streamIdleTimeoutMs: 300 },
  });
  using client = new Frames(path.port);
  client.socket.pause();
  client.open(settings(INITIAL_WINDOW_SIZE, 2 ** 31 - 1), update(0, 2 ** 30), get(1));
  await until(() => path.stats.get("downstream_cx_destroy") === 1);
  expect(path.stats.get("downstream_rq_active")).toBe(0);
  expect(path.stats.get("downstream_cx_idle_timeout")).toBe(0);
});
