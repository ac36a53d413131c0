/** WebSocket over HTTP/2 (RFC 8441) to HTTP/1.1 origins. */
import { createServer, type ClientHttp2Stream, type ServerHttp2Stream } from "node:http2";

import { expect, test } from "vitest";

import { clusterOf, DataPath, endpointAt, TestServer } from "../../test/support/data-path.ts";
import { RawClient } from "../../test/support/raw-client.ts";
import { pause, until } from "../../test/support/wait.ts";
import { Http2Client } from "../../test/support/http2-client.ts";
import * as h2 from "../../test/support/http2-frames.ts";
import { fillTunnel, slowOrigin } from "../../test/support/tunnels.ts";
import { edgeDefaults } from "./options.ts";

const SWITCH =
  "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n";
const WEBSOCKET = { ":method": "CONNECT", ":protocol": "websocket", ":path": "/live", ":authority": "h" };

/** An origin that upgrades, echoes, and ends when its client does. */
async function origin(answer = SWITCH) {
  const heads: string[] = [];
  const server = await TestServer.raw((socket) => {
    let head: string | undefined = "";
    socket.on("data", (bytes) => {
      if (head === undefined) return void socket.write(bytes);
      head += bytes.toString("latin1");
      if (!head.includes("\r\n\r\n")) return;
      heads.push(head);
      head = undefined;
      socket.write(answer, "latin1");
    });
    socket.on("end", () => socket.end("bye"));
  }, true);
  return { heads, port: server.port, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
}

/** Of the route; whoever only wants an answer has more than enough. */
const TIMEOUT_MS = 3_000;

const allowing = (port: number, { allowConnect = true, timeoutMs = 60_000, requestTimeoutMs = 0 } = {}) =>
  DataPath.start({
    cluster: clusterOf([endpointAt(port)]),
    action: { upgrades: new Map([["websocket", true]]), timeoutMs },
    http: { http2: { ...edgeDefaults, allowConnect }, requestTimeoutMs },
  });

/** Collects what a stream brings. */
function watch(stream: ClientHttp2Stream) {
  const seen = { status: 0, headers: {} as Record<string, unknown>, body: "", ended: false, closed: false };
  stream
    .on("response", (headers) => {
      seen.status = Number(headers[":status"]);
      seen.headers = headers;
    })
    .on("data", (piece: Buffer) => (seen.body += piece.toString("latin1")))
    .on("end", () => (seen.ended = true))
    .on("error", () => {})
    .on("close", () => (seen.closed = true));
  return seen;
}

async function open(port: number) {
  const client = new Http2Client(port);
  await until(() => client.session.remoteSettings.maxConcurrentStreams === edgeDefaults.maxConcurrentStreams);
  return client;
}

test("a websocket echoes both ways, beyond the route's timeout, and ends half by half", async () => {
  await using server = await origin();
  await using path = await allowing(server.port, { timeoutMs: TIMEOUT_MS });
  await using client = await open(path.port);
  const stream = client.session.request(WEBSOCKET, { endStream: false });
  const seen = watch(stream);
  // Sent ahead of the answer.
  stream.write("early ");
  await until(() => seen.body === "early ");
  expect(seen.status).toBe(200);
  expect(seen.headers).not.toHaveProperty("sec-websocket-accept");
  expect(server.heads[0]).toMatch(/^GET \/live HTTP\/1.1\r\nhost: h\r\n/);
  expect(server.heads[0]).toMatch(
    /sec-websocket-key: [\w+/]{22}==\r\n[^]*connection: upgrade\r\nupgrade: websocket\r\n/,
  );
  // The route's timeout is long over then.
  await pause(1.5 * TIMEOUT_MS);
  stream.write("late");
  await until(() => seen.body === "early late");
  stream.end();
  await until(() => seen.closed);
  expect(seen.body).toBe("early latebye");
  expect(stream.rstCode).toBe(0);
  await until(() => path.records.length === 1);
  expect(path.records[0]).toMatchObject({
    status: 101,
    protocol: "HTTP/2",
    bytesReceived: 10,
    bytesSent: 13,
    flags: [],
  });
  expect(path.stats.get("downstream_cx_upgrades_active")).toBe(0);
});

test("an origin that doesn't switch answers as usual, and no tunnel opens", async () => {
  await using server = await origin("HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\n\r\nno");
  await using path = await allowing(server.port);
  await using client = await open(path.port);
  const seen = watch(client.session.request(WEBSOCKET, { endStream: false }));
  await until(() => seen.closed);
  expect(seen).toMatchObject({ status: 426, body: "no" });
});

test("what an origin answers by 200 without switching isn't taken for what comes through a tunnel", async () => {
  await using server = await origin("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno");
  await using path = await allowing(server.port);
  await using client = await open(path.port);
  const seen = watch(client.session.request(WEBSOCKET, { endStream: false }));
  await until(() => seen.closed);
  expect(seen).toMatchObject({ status: 200, body: "", ended: true });
  expect(seen.headers).not.toHaveProperty("content-length");
});

test("without allow_connect extended CONNECT is no request at all; types that are not allowed are 403", async () => {
  await using server = await origin();
  await using closed = await allowing(server.port, { allowConnect: false });
  await using one = await open(closed.port);
  expect(one.session.remoteSettings.enableConnectProtocol).toBe(false);
  await using path = await allowing(server.port);
  await using client = await open(path.port);
  const seen = watch(client.session.request({ ...WEBSOCKET, ":protocol": "other" }, { endStream: false }));
  await until(() => seen.closed);
  expect(seen.status).toBe(403);
  expect(server.heads).toEqual([]);
});

test("a client that goes away takes the origin's connection with it", async () => {
  await using server = await origin();
  await using path = await allowing(server.port);
  const client = await open(path.port);
  const seen = watch(client.session.request(WEBSOCKET, { endStream: false }));
  await until(() => seen.status === 200);
  client.session.destroy();
  await until(() => path.records.length === 1 && path.stats.get("upstream_cx_active") === 0);
  expect(path.records[0]?.flags).toEqual(["DC"]);
});

test("over HTTP/2 on both sides a websocket echoes both ways, and ends half by half", async () => {
  const ended: boolean[] = [];
  const server = createServer({ settings: { enableConnectProtocol: true } });
  server.on("stream", (stream, headers) => {
    expect(headers).toMatchObject(WEBSOCKET);
    stream.respond({ ":status": 200, "sec-websocket-protocol": "chat" });
    stream.on("end", () => ended.push(true)).on("error", () => {});
    stream.pipe(stream);
  });
  await using http2 = await TestServer.listen(server);
  await using path = await DataPath.start({
    cluster: clusterOf([endpointAt(http2.port)], { protocol: "http2" }),
    action: { upgrades: new Map([["websocket", true]]) },
    http: { http2: { ...edgeDefaults, allowConnect: true } },
  });
  await using client = await open(path.port);
  const stream = client.session.request({ ...WEBSOCKET, "sec-websocket-protocol": "chat" }, { endStream: false });
  const seen = watch(stream);
  stream.write("ahead");
  await until(() => seen.status === 200 && seen.body === "ahead");
  expect(seen.headers["sec-websocket-protocol"]).toBe("chat");
  stream.write("x".repeat(500_000));
  await until(() => seen.body.length === 500_005);
  stream.end();
  await until(() => seen.closed && ended.length === 1);
  expect(seen.ended).toBe(true);
  await until(() => path.records.length === 1);
  expect(path.records[0]?.flags).toEqual([]);
});

test("a websocket goes on beyond the time that the listener gives requests", async () => {
  await using server = await origin();
  await using path = await allowing(server.port, { requestTimeoutMs: TIMEOUT_MS });
  await using client = await open(path.port);
  const stream = client.session.request(WEBSOCKET, { endStream: false });
  const seen = watch(stream);
  await until(() => seen.status === 200);
  await pause(1.5 * TIMEOUT_MS);
  stream.write("late");
  await until(() => seen.body === "late" || seen.closed);
  expect(seen).toMatchObject({ body: "late", closed: false });
});

test("an origin that has ended its half gets all that its client sends, however slowly it reads", async () => {
  let taken: ServerHttp2Stream | undefined;
  const server = createServer({ settings: { enableConnectProtocol: true } });
  server.on("stream", (stream) => {
    // Without a word Node reads and drops what comes after our end.
    taken = stream.on("error", () => {}).pause();
    stream.respond({ ":status": 200 });
    stream.end();
  });
  await using http2 = await TestServer.listen(server);
  await using path = await DataPath.start({
    cluster: clusterOf([endpointAt(http2.port)], { protocol: "http2" }),
    action: { upgrades: new Map([["websocket", true]]) },
    http: { http2: { ...edgeDefaults, allowConnect: true } },
  });
  await using client = await open(path.port);
  const stream = client.session.request(WEBSOCKET, { endStream: false });
  const seen = watch(stream);
  await until(() => seen.ended);
  // More than the origin's window, and less than that and ours together.
  stream.end(Buffer.alloc(90_000));
  // For its client the tunnel is over.
  await until(() => path.records.length === 1);
  let bytes = 0;
  taken?.on("data", (piece: Buffer) => (bytes += piece.length)).resume();
  await until(() => taken?.destroyed === true);
  expect(bytes).toBe(90_000);
  expect(path.records[0]?.flags).toEqual([]);
  await until(() => path.stats.get("cluster.http2.streams_active") === 0);
});

test("an HTTP/1.1 origin that has ended its half gets all that its client sends", async () => {
  const origin = await slowOrigin(SWITCH);
  await using server = origin.server;
  await using path = await allowing(server.port);
  using client = new RawClient(path.port);
  client.send(Buffer.concat([h2.PREFACE, h2.frame(h2.SETTINGS, 0, 0)]).toString("latin1"));
  const fields = Object.entries({ ":scheme": "http", ...WEBSOCKET });
  client.send(h2.frame(h2.HEADERS, h2.END_HEADERS, 1, h2.fields(...fields)).toString("latin1"));
  const sent = await fillTunnel(client);
  await until(() => path.records.length === 1);
  expect(await origin.readAll()).toBe(sent);
  await until(() => path.stats.get("upstream_cx_active") === 0);
});
