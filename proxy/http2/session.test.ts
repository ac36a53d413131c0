/** A session by itself, on a real socket, where what is to be seen is inside. */
import { once } from "node:events";
import type { Socket } from "node:net";

import { expect, test } from "vitest";

import { TestServer } from "../../test/support/data-path.ts";
import { RawClient } from "../../test/support/raw-client.ts";
import { TestStats } from "../../test/support/test-stats.ts";
import { pause, until } from "../../test/support/wait.ts";
import * as h2 from "../../test/support/http2-frames.ts";
import type { SessionHandler, StreamHandler } from "./handlers.ts";
import { edgeDefaults } from "./options.ts";
import { Http2Session } from "./session.ts";
import type { Http2Stream } from "./stream.ts";

const SETTINGS_TIMEOUT = 4;
const TIMEOUT_MS = 200;
const stats = new TestStats();

const ignore = () => {};
const streams: StreamHandler = {
  ...{ onHead: ignore, onInformational: ignore, onData: ignore, onEnd: ignore },
  ...{ onReadEnd: ignore, onWritable: ignore, onClosed: ignore },
};

/** Answers each request with so many bytes. */
function answering(bytes: number): SessionHandler {
  return {
    onRequest(stream) {
      stream.handler = streams;
      stream.sendHeaders([":status", "200"], false);
      stream.sendData(Buffer.alloc(bytes), 0, bytes);
      stream.sendEnd();
    },
    ...{ onSettings: ignore, onGoaway: ignore, onPong: ignore, onRefused: ignore, onStreamError: ignore },
    ...{ onFailed: ignore, onUnfinished: ignore, onClosed: ignore },
  };
}

async function start(
  handler: SessionHandler,
  {
    settingsTimeoutMs = 0,
    connectionWindowBytes = edgeDefaults.connectionWindowBytes,
  }: { settingsTimeoutMs?: number; connectionWindowBytes?: number } = {},
) {
  const server = await TestServer.raw(() => {});
  const accepted = once(server.server, "connection") as Promise<[Socket]>;
  const client = new RawClient(server.port);
  const [socket] = await accepted;
  const settings = {
    ...{ headerTableBytes: edgeDefaults.hpackTableBytes, headerListBytes: 10_000, headerFields: 100 },
    ...{ streamWindowBytes: edgeDefaults.streamWindowBytes, connectionWindowBytes },
    ...{ maxConcurrentStreams: 100, connectProtocol: false },
  };
  const session = new Http2Session(
    socket,
    { isClient: false, settings, delayedCloseTimeoutMs: 100, settingsTimeoutMs, stats: stats.http2() },
    handler,
  );
  socket.on("data", (bytes) => session.receive(bytes, 0, bytes.length));
  return {
    session,
    client,
    async [Symbol.asyncDispose]() {
      client[Symbol.dispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

const uint32 = (value: number): string => Buffer.from([0, 0, 0, value]).toString("latin1");
const get = (id: number): Buffer => h2.frame(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, id, h2.fields(...h2.GET));
const heads = (received: string): number => h2.framesOf(received).filter(({ type }) => type === h2.HEADERS).length;

test("sec 10 streams that are reset while the connection's window is shut leave nothing behind", async () => {
  await using rig = await start(answering(70_000));
  const { session, client } = rig;
  client.send(Buffer.concat([h2.PREFACE, h2.frame(h2.SETTINGS, 0, 0), get(1)]).toString("latin1"));
  // The first answer takes the whole window, and the rest of it waits, as all others do.
  for (let id = 3; id < 43; id += 2) {
    client.send(get(id).toString("latin1"));
    await client.until((received) => heads(received) === (id + 1) / 2);
    client.send(h2.frame(h2.RST_STREAM, 0, id, uint32(8)).toString("latin1"));
  }
  client.send(h2.frame(h2.RST_STREAM, 0, 1, uint32(8)).toString("latin1"));
  await until(() => session.streams === 0);
  expect(session.isCongested).toBe(false);
  expect(stats.get("http2.pending_send_bytes")).toBe(0);
});

test("a stream that is resumed once more after its end gives nothing back twice", async () => {
  let held: Http2Stream | undefined;
  const handler: SessionHandler = {
    ...answering(0),
    onRequest(stream) {
      stream.handler = streams;
      stream.pause();
      held = stream;
    },
  };
  await using rig = await start(handler, { connectionWindowBytes: 65_535 });
  const { client, session } = rig;
  const post = h2.frame(h2.HEADERS, h2.END_HEADERS, 1, h2.fields([":method", "POST"], ...h2.GET.slice(1)));
  const data = Array.from({ length: 4 }, () => h2.frame(h2.DATA, 0, 1, Buffer.alloc(10_000)));
  client.send(
    Buffer.concat([
      ...[h2.PREFACE, h2.frame(h2.SETTINGS, 0, 0), post, ...data],
      h2.frame(h2.RST_STREAM, 0, 1, uint32(8)),
    ]).toString("latin1"),
  );
  await until(() => held !== undefined && session.streams === 0);
  held?.resume();
  client.send(h2.frame(h2.PING, 0, 0, "12345678").toString("latin1"));
  const received = await client.until((text) => h2.framesOf(text).some(({ type }) => type === h2.PING));
  const updates = h2.framesOf(received).filter(({ type }) => type === h2.WINDOW_UPDATE);
  expect(updates.map(({ streamId, payload }) => [streamId, payload.readUInt32BE(0)])).toEqual([[0, 40_000]]);
});

test("sec 10 a client that doesn't acknowledge SETTINGS is told so, and left", async () => {
  await using rig = await start(answering(1), { settingsTimeoutMs: TIMEOUT_MS });
  const got = await rig.client.send(h2.PREFACE.toString("latin1")).end();
  const goaway = h2.framesOf(got).find(({ type }) => type === h2.GOAWAY);
  expect(goaway?.payload.readUInt32BE(4)).toBe(SETTINGS_TIMEOUT);
});

test("a client that acknowledges SETTINGS stays", async () => {
  for (;;) {
    const startedAt = performance.now();
    await using rig = await start(answering(1), { settingsTimeoutMs: TIMEOUT_MS });
    const { client, session } = rig;
    const ping = h2.frame(h2.PING, 0, 0, "12345678");
    const frames = [h2.PREFACE, h2.frame(h2.SETTINGS, 0, 0), h2.frame(h2.SETTINGS, 1, 0), ping];
    client.send(Buffer.concat(frames).toString("latin1"));
    await until(() => client.ended || h2.framesOf(client.received).some(({ type }) => type === h2.PING));
    // A machine that is too slow for it shows nothing; it is tried again.
    if (performance.now() - startedAt > TIMEOUT_MS) continue;
    await pause(3 * TIMEOUT_MS);
    expect(session.isOpen).toBe(true);
    return;
  }
});
