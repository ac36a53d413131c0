/** HTTP/2 to origins, over real sockets. */
import {
  createServer,
  createSecureServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import { createServer as createHttpsServer } from "node:https";
import { readFileSync } from "node:fs";
import type { Server } from "node:net";
import { join } from "node:path";

import { expect, test } from "vitest";

import {
  clusterOf,
  DataPath,
  type DataPathOptions,
  endpointAt,
  retryPolicy,
  TestServer,
  upstreamTls,
} from "../../test/support/data-path.ts";
import { exchange, RawClient } from "../../test/support/raw-client.ts";
import { standstill, until } from "../../test/support/wait.ts";
import type { ClusterSettings } from "../cluster/cluster.ts";
import { http2Defaults } from "../cluster/http2-options.ts";

const GET = "GET /a?b HTTP/1.1\r\nHost: h.test\r\nX-One: \xe9\r\nConnection: close\r\n\r\n";
const read = (name: string) => readFileSync(join(import.meta.dirname, "testdata", name), "utf8");

type Handler = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void;

class Origin implements AsyncDisposable {
  readonly sessions: ServerHttp2Session[] = [];
  readonly streams: ServerHttp2Stream[] = [];
  readonly headers: IncomingHttpHeaders[] = [];
  readonly test: TestServer;

  constructor(server: Http2Server, test: TestServer, handler: Handler) {
    this.test = test;
    server.on("session", (session) => {
      this.sessions.push(session);
      session.on("error", () => {});
    });
    server.on("stream", (stream, headers) => {
      this.streams.push(stream);
      this.headers.push(headers);
      stream.on("error", () => {});
      handler(stream, headers);
    });
  }

  static async start(handler: Handler, settings = {}): Promise<Origin> {
    const server = createServer({ settings });
    return new Origin(server, await TestServer.listen(server), handler);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.test[Symbol.asyncDispose]();
  }
}

const start = (origin: { test: TestServer }, settings: Partial<ClusterSettings> = {}, more: DataPathOptions = {}) => {
  const cluster = clusterOf([endpointAt(origin.test.port)], { protocol: "http2", ...settings });
  return DataPath.start({ cluster, ...more });
};

const echo: Handler = (stream) => {
  stream.respond({ ":status": 200, "x-two": "2" });
  stream.pipe(stream);
};

test("a request goes out as HTTP/2 and its response comes back", async () => {
  await using origin = await Origin.start((stream) => {
    stream.respond({ ":status": 201, "content-type": "text/plain", "set-cookie": ["a=1", "b=2"] });
    stream.end("hello");
  });
  await using path = await start(origin);
  const text = await exchange(path.port, GET);
  expect(text).toMatch(/^HTTP\/1.1 201 Created\r\n/);
  expect(text).toMatch(/set-cookie: a=1\r\nset-cookie: b=2\r\n/);
  expect(text).toContain("5\r\nhello\r\n0\r\n\r\n");
  expect(origin.headers[0]).toMatchObject({
    ":method": "GET",
    ":path": "/a?b",
    ":scheme": "http",
    ":authority": "h.test",
    "x-one": "\xe9",
  });
  expect(origin.headers[0]).not.toHaveProperty("connection");
  expect(path.stats.get("upstream_cx_http2_total")).toBe(1);
  await until(() => path.records.length === 1);
  expect(path.records[0]).toMatchObject({ status: 201, flags: [], details: "via_upstream" });
});

test("many requests share one connection, bodies flow both ways", async () => {
  await using origin = await Origin.start(echo);
  await using path = await start(origin);
  const body = "y".repeat(1_000_000);
  const post = `POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  const answers = await Promise.all(Array.from({ length: 8 }, () => exchange(path.port, post)));
  for (const answer of answers) {
    expect(answer).toMatch(/^HTTP\/1.1 200 OK/);
    expect(answer.match(/y/g)).toHaveLength(body.length);
  }
  expect(origin.test.accepted).toBe(1);
});

test("those who wait for an endpoint that is removed meanwhile are answered by it", async () => {
  await using origin = await Origin.start(echo);
  const endpoint = endpointAt(origin.test.port);
  await using path = await DataPath.start({ cluster: clusterOf([endpoint], { protocol: "http2" }) });
  // As it is when an update comes while the connection is being made.
  endpoint.alive = false;
  const answers = await Promise.all([exchange(path.port, GET), exchange(path.port, GET)]);
  for (const answer of answers) expect(answer).toMatch(/^HTTP\/1.1 200 OK/);
});

test("more requests at once than the origin allows open another connection", async () => {
  let finish: (() => void)[] = [];
  await using origin = await Origin.start((stream) => finish.push(() => (stream.respond(), stream.end())), {
    maxConcurrentStreams: 2,
  });
  await using path = await start(origin);
  await Promise.all([exchangeOne(), Promise.resolve()]);
  const answers = Array.from({ length: 4 }, () => exchange(path.port, GET));
  await until(() => finish.length === 4);
  expect(origin.test.accepted).toBe(2);
  for (const each of finish) each();
  for (const answer of await Promise.all(answers)) expect(answer).toMatch(/^HTTP\/1.1 200/);

  async function exchangeOne() {
    const first = exchange(path.port, GET);
    await until(() => finish.length === 1);
    for (const each of finish) each();
    finish = [];
    await first;
  }
});

test("GOAWAY: streams under way go on, new requests take another connection, given back ones are asked again", async () => {
  let first: ServerHttp2Stream | undefined;
  await using origin = await Origin.start((stream) => {
    if (first === undefined) {
      first = stream;
      stream.respond();
      stream.write("begin ");
    } else {
      stream.respond();
      stream.end("other");
    }
  });
  await using path = await start(origin);
  const slow = exchange(path.port, GET);
  await until(() => path.stats.get("upstream_rq_completed") === 1);
  origin.sessions[0]?.close();
  await until(() => path.stats.get("upstream_cx_close_notify") === 1);
  expect(await exchange(path.port, GET)).toContain("other");
  expect(origin.test.accepted).toBe(2);
  first?.end("end");
  expect(await slow).toMatch(/begin [^]*end/);
});

test.each<[number, string, RegExp, string]>([
  [7, "REFUSED_STREAM", /^HTTP\/1.1 503 [^]*reset reason: remote refused stream reset/, "UR"],
  [1, "PROTOCOL_ERROR", /^HTTP\/1.1 503 [^]*reset reason: remote reset/, "UR"],
  [2, "INTERNAL_ERROR", /^HTTP\/1.1 503 [^]*reset reason: remote reset/, "UR"],
])("a stream reset with %i (%s) is told as Envoy does", async (code, _name, expected, flag) => {
  await using origin = await Origin.start((stream) => stream.close(code));
  await using path = await start(origin);
  expect(await exchange(path.port, GET)).toMatch(expected);
  expect(path.records[0]?.flags).toEqual([flag]);
});

test("refused-stream tries again", async () => {
  await using origin = await Origin.start((stream) => {
    if (origin.streams.length === 1) stream.close(7);
    else {
      stream.respond();
      stream.end("ok");
    }
  });
  await using path = await start(origin, {}, { action: { retry: retryPolicy(["refused-stream"]) } });
  expect(await exchange(path.port, GET)).toMatch(/^HTTP\/1.1 200/);
  expect(path.stats.get("upstream_rq_retry")).toBe(1);
});

test.each<[string, string, number]>([
  ["unavailable", "14", 2],
  ["unavailable", "13", 1],
  ["cancelled", "1", 2],
  ["deadline-exceeded", "4", 2],
  ["internal", "13", 2],
  ["resource-exhausted", "8", 2],
])("%s: a trailers-only response of grpc-status %s makes %i attempts", async (condition, status, attempts) => {
  await using origin = await Origin.start((stream) => {
    stream.respond(
      { ":status": 200, "content-type": "application/grpc", "grpc-status": origin.streams.length > 1 ? "0" : status },
      { endStream: true },
    );
  });
  await using path = await start(origin, {}, { action: { retry: retryPolicy([condition]) } });
  const text = await exchange(path.port, GET);
  expect(text).toContain(`grpc-status: ${attempts === 2 ? "0" : status}\r\n`);
  expect(origin.streams).toHaveLength(attempts);
});

test("trailers of the response are the request's own, and logged", async () => {
  await using origin = await Origin.start((stream) => {
    stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "5", "grpc-message": "none" }));
    stream.end("message");
  });
  await using path = await start(origin);
  expect(await exchange(path.port, GET)).toContain("message");
  expect(path.records[0]?.responseTrailers).toMatchObject({
    names: ["grpc-status", "grpc-message"],
    values: ["5", "none"],
  });
});

test("a response before the request's end ends the request without harm", async () => {
  await using origin = await Origin.start((stream) => {
    stream.respond({ ":status": 413 });
    stream.end("too much");
  });
  await using path = await start(origin);
  using client = new RawClient(path.port);
  client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\nbegin");
  expect(await client.end()).toMatch(/^HTTP\/1.1 413 [^]*too much/);
  await until(() => origin.streams[0]?.closed === true);
  expect(await exchange(path.port, GET)).toMatch(/^HTTP\/1.1 413 /);
  expect(origin.test.accepted).toBe(1);
});

test("per_try_idle_timeout ends a response on which nothing moves", async () => {
  await using origin = await Origin.start((stream) => {
    stream.respond({ ":status": 200 });
    stream.write("begin");
  });
  const retry = retryPolicy(["5xx"], { perTryIdleTimeoutMs: 1_000 });
  await using path = await start(origin, {}, { action: { retry } });
  expect(await exchange(path.port, GET)).toMatch(/^HTTP\/1.1 200[^]*begin/);
  expect(path.stats.get("upstream_rq_per_try_idle_timeout")).toBe(1);
  expect(path.records[0]?.flags).toEqual(["SI"]);
});

test("a client that leaves cancels its stream, and only that", async () => {
  await using origin = await Origin.start((stream) => {
    stream.respond();
    stream.write("begin");
  });
  await using path = await start(origin);
  using stays = new RawClient(path.port).send(GET);
  await stays.until((text) => text.includes("begin"));
  using leaves = new RawClient(path.port).send(GET);
  await leaves.until((text) => text.includes("begin"));
  leaves.socket.destroy();
  await until(() => origin.streams[1]?.closed === true);
  expect(origin.streams[1]?.rstCode).toBe(8);
  expect(origin.streams[0]?.closed).toBe(false);
  origin.streams[0]?.end();
  await stays.end();
});

test("a client that reads slowly holds the origin back", async () => {
  let sent = 0;
  await using origin = await Origin.start((stream) => {
    stream.respond();
    const piece = Buffer.alloc(65_536, "z");
    const more = () => {
      while (sent < 50_000_000) {
        sent += piece.length;
        if (!stream.write(piece)) return void stream.once("drain", more);
      }
      stream.end();
    };
    more();
  });
  await using path = await start(origin);
  using client = new RawClient(path.port).send(GET);
  client.socket.pause();
  await until(() => sent > 0);
  expect(await standstill(() => sent)).toBeLessThan(20_000_000);
  client.socket.resume();
  await until(() => sent >= 50_000_000);
});

test("a websocket goes over extended CONNECT where the origin takes it", async () => {
  await using origin = await Origin.start(
    (stream, headers) => {
      expect(headers).toMatchObject({ ":method": "CONNECT", ":protocol": "websocket", ":path": "/live" });
      echo(stream, headers);
    },
    { enableConnectProtocol: true },
  );
  await using path = await start(origin, {}, { action: { upgrades: new Map([["websocket", true]]) } });
  using client = new RawClient(path.port);
  client.send(
    "GET /live HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
  );
  const head = await client.until((text) => text.startsWith("HTTP/1.1 101 ") && text.includes("\r\n\r\n"));
  // The example of RFC 6455, 1.3.
  expect(head).toContain("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n");
  await client.send("ping").until((text) => text.endsWith("ping"));
  client.socket.end();
  await client.end();
  await until(() => path.records.length === 1);
  expect(path.records[0]).toMatchObject({ status: 101, flags: [], bytesSent: 4 });
});

test("a websocket to an origin that doesn't take it is refused", async () => {
  await using origin = await Origin.start(echo);
  await using path = await start(origin, {}, { action: { upgrades: new Map([["websocket", true]]) } });
  const upgrade = "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n\r\n";
  expect(await exchange(path.port, upgrade)).toMatch(/^HTTP\/1.1 502 /);
  expect(origin.streams).toEqual([]);
});

test("connections end by count, age and idleness, without a failed request", async () => {
  await using origin = await Origin.start((stream) => {
    stream.respond();
    stream.end();
  });
  const cases: [Partial<ClusterSettings>, string][] = [
    [{ maxRequestsPerConnection: 1 }, "upstream_cx_max_requests"],
    [{ maxConnectionDurationMs: 20 }, "upstream_cx_max_duration_reached"],
    [{ idleTimeoutMs: 20 }, "upstream_cx_idle_timeout"],
  ];
  for (const [settings, counter] of cases) {
    await using path = await start(origin, settings);
    expect(await exchange(path.port, GET)).toMatch(/^HTTP\/1.1 200/);
    await until(() => path.stats.get(counter) === 1 && path.stats.get("upstream_cx_active") === 0);
    expect(await exchange(path.port, GET)).toMatch(/^HTTP\/1.1 200/);
    expect(path.stats.get("upstream_cx_total")).toBe(2);
  }
});

test("a connection that does not answer pings is given up", async () => {
  // It says what must be said first, and then nothing.
  await using silent = await TestServer.raw((socket) => socket.write(Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0])));
  const http2 = { ...http2Defaults, keepalive: { intervalMs: 20, timeoutMs: 20 } };
  await using path = await start({ test: silent }, { http2 });
  expect(await exchange(path.port, GET)).toMatch(/^HTTP\/1.1 503 [^]*connection termination/);
  expect(path.records[0]?.flags).toEqual(["UC"]);
});

test("auto_config speaks what the origin chooses by ALPN", async () => {
  const pems = { key: read("origin.key.pem"), cert: read("origin.cert.pem") };
  const answer = (request: { httpVersion: string }, response: { end(text: string): void }) =>
    response.end(request.httpVersion);
  const servers: [Server, string][] = [
    [createSecureServer({ ...pems, allowHTTP1: true }, answer), "2.0"],
    [createHttpsServer(pems, answer), "1.1"],
  ];
  for (const [server, version] of servers) {
    await using origin = await TestServer.listen(server);
    await using path = await start({ test: origin }, { protocol: "auto", tls: upstreamTls });
    for (let n = 0; n < 3; n++) expect(await exchange(path.port, GET)).toMatch(`\r\n${version}`);
    expect(origin.accepted).toBe(1);
    expect(path.stats.get("upstream_cx_active")).toBe(1);
  }

  // What it offers may change: the connection on which that shows carries the request all the same.
  let offered = ["h2"];
  const ALPNCallback = ({ protocols }: { protocols: string[] }) => offered.find((one) => protocols.includes(one));
  await using changing = await TestServer.listen(
    createSecureServer({ ...pems, ALPNCallback, allowHTTP1: true }, answer),
  );
  await using path = await start(
    { test: changing },
    { protocol: "auto", tls: upstreamTls, maxRequestsPerConnection: 1 },
  );
  for (const [protocol, version] of [
    ["h2", "2.0"],
    ["http/1.1", "1.1"],
    ["http/1.1", "1.1"],
    ["h2", "2.0"],
    ["h2", "2.0"],
  ] as const) {
    offered = [protocol];
    expect(await exchange(path.port, GET)).toMatch(`\r\n${version}`);
  }
  expect(changing.accepted).toBe(5);
  await until(() => path.stats.get("upstream_cx_active") === 0);
  expect(path.stats.get("upstream_cx_destroy")).toBe(5);
});
