import { expect, test } from "vitest";

import { clusterOf, DataPath, endpointAt, TestServer } from "../../test/support/data-path.ts";
import { RawClient } from "../../test/support/raw-client.ts";
import { until } from "../../test/support/wait.ts";
import * as h2 from "../../test/support/http2-frames.ts";

const GET = h2.frame(
  h2.HEADERS,
  h2.END_HEADERS | h2.END_STREAM,
  1,
  h2.fields([":method", "GET"], [":scheme", "http"], [":path", "/"], [":authority", "h"]),
);
const OPENING = Buffer.concat([h2.PREFACE, h2.frame(h2.SETTINGS, 0, 0), GET]).toString("latin1");

test("a client that says GOAWAY may still send requests until it has heard ours (RFC 9113, 6.8)", async () => {
  await using path = await DataPath.start({ route: null });
  using client = new RawClient(path.port);
  const get = (id: number) => h2.frame(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, id, h2.fields(...h2.GET));
  const goaway = h2.frame(h2.GOAWAY, 0, 0, "\0\0\0\0\0\0\0\0");
  const frames = [h2.PREFACE, h2.frame(h2.SETTINGS, 0, 0), get(1), goaway, get(3)];
  client.send(Buffer.concat(frames).toString("latin1"));
  await client.until((text) => h2.framesOf(text).filter(({ type }) => type === h2.HEADERS).length === 2);
  // It has: the answer to the PING behind it says so.
  const ping = h2.framesOf(client.received).find(({ type }) => type === h2.PING);
  client.send(h2.frame(h2.PING, 1, 0, ping?.payload).toString("latin1"));
  await client.end();
});

test("a client that never answers our PING is warned for drain_timeout, and then refused", async () => {
  let release: (() => void) | undefined;
  await using origin = await TestServer.http((_request, response) => {
    release = () => response.end("late");
  });
  const cluster = clusterOf([endpointAt(origin.port)]);
  await using path = await DataPath.start({ cluster, http: { drainTimeoutMs: 100 } });
  using client = new RawClient(path.port);
  client.send(OPENING);
  await until(() => release !== undefined);
  const drained = path.listener.drain(30_000);
  const ends = (text: string) => h2.framesOf(text).filter(({ type }) => type === h2.GOAWAY);
  const all = ends(await client.until((text) => ends(text).length === 2));
  expect(all.map(({ payload }) => payload.readUInt32BE(0))).toEqual([2 ** 31 - 1, 1]);
  release?.();
  client.socket.destroy();
  await drained;
});

test("what comes behind the last GOAWAY is not looked at, and the connection ends with the last stream before", async () => {
  const seen: (string | undefined)[] = [];
  let release: (() => void) | undefined;
  await using origin = await TestServer.http((request, response) => {
    seen.push(request.url);
    release = () => response.end("late");
  });
  await using path = await DataPath.start({ cluster: clusterOf([endpointAt(origin.port)]) });
  using client = new RawClient(path.port);
  client.send(OPENING);
  await until(() => release !== undefined);
  const drained = path.listener.drain(60_000);
  const goaways = (text: string) => h2.framesOf(text).filter(({ type }) => type === h2.GOAWAY);
  const told = await client.until((text) => goaways(text).length === 1);
  const ping = h2.framesOf(told).find(({ type }) => type === h2.PING);
  client.send(h2.frame(h2.PING, 1, 0, ping?.payload).toString("latin1"));
  await client.until((text) => goaways(text).length === 2);
  const body = h2.frame(h2.DATA, h2.END_STREAM, 3, "nobody reads this");
  const late = h2.frame(
    h2.HEADERS,
    h2.END_HEADERS,
    3,
    h2.fields([":method", "POST"], [":scheme", "http"], [":path", "/late"], [":authority", "h"]),
  );
  client.send(Buffer.concat([late, body, h2.frame(h2.PING, 0, 0, "--------")]).toString("latin1"));
  await client.until((text) => h2.framesOf(text).filter(({ type }) => type === h2.PING).length === 2);
  release?.();
  const all = h2.framesOf(await client.end());
  await drained;
  expect(seen).toEqual(["/"]);
  expect(all.filter(({ streamId }) => streamId === 3)).toEqual([]);
  expect(all.filter(({ type }) => type === h2.DATA).map(({ payload }) => payload.toString())).toEqual(["late"]);
});

test("behind the last GOAWAY the client has time to end the connection by itself", async () => {
  await using path = await DataPath.start({
    route: { kind: "direct", status: 200, body: Buffer.from("ok") },
    http: { delayedCloseTimeoutMs: 600_000 },
  });
  using client = new RawClient(path.port);
  const count = (text: string, wanted: number) => h2.framesOf(text).filter(({ type }) => type === wanted).length;
  client.send(OPENING);
  await client.until((text) => text.includes("ok"));
  const drained = path.listener.drain(600_000);
  const told = await client.until((text) => count(text, h2.PING) === 1);
  const ping = h2.framesOf(told).find(({ type }) => type === h2.PING);
  client.send(h2.frame(h2.PING, 1, 0, ping?.payload).toString("latin1"));
  await client.until((text) => count(text, h2.GOAWAY) === 2);
  client.send(h2.frame(h2.PING, 0, 0, "--------").toString("latin1"));
  await client.until((text) => count(text, h2.PING) === 2);
  client.socket.end();
  await drained;
});
