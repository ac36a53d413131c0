/** What becomes of a request on its way to a cluster: failures, retries, limits and times, against real origins. */
import { expect, test } from "vitest";

import {
  clusterOf,
  DataPath,
  type DataPathOptions,
  endpointAt,
  retryPolicy,
  TestServer,
} from "../../test/support/data-path.ts";
import { exchange, RawClient } from "../../test/support/raw-client.ts";
import { until } from "../../test/support/wait.ts";
import { freePort } from "../../test/support/ports.ts";

const GET = "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
const KEPT = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/** An origin that answers the n-th request (from 1) it gets, on whichever connection; undefined: the connection is closed. */
async function answering(
  answer: (n: number, head: string) => string | undefined,
): Promise<TestServer & { requests: number }> {
  let requests = 0;
  const server = await TestServer.raw((socket) => {
    let text = "";
    socket.on("data", (bytes) => {
      text += bytes.toString("latin1");
      if (!text.includes("\r\n\r\n")) return;
      const head = text;
      text = "";
      const reply = answer(++requests, head);
      if (reply === undefined) socket.destroy();
      else socket.write(reply, "latin1");
    });
  });
  return Object.defineProperty(server, "requests", { get: () => requests }) as TestServer & { requests: number };
}

const via = (port: number, changes: DataPathOptions = {}) =>
  DataPath.start({ cluster: clusterOf([endpointAt(port)]), ...changes });

test("no route, no cluster and no endpoint have their own answers", async () => {
  await using noRoute = await DataPath.start({ route: null });
  expect(await exchange(noRoute.port, GET)).toMatch(/^HTTP\/1.1 404 [^]*content-length: 0/);
  expect(noRoute.records[0]).toMatchObject({ flags: ["NR"], details: "route_not_found" });

  await using noCluster = await DataPath.start({ cluster: null });
  expect(await exchange(noCluster.port, GET)).toMatch(/^HTTP\/1.1 503 /);
  expect(noCluster.records[0]).toMatchObject({ flags: ["NC"], details: "cluster_not_found" });

  await using noHost = await DataPath.start({ cluster: clusterOf([]) });
  expect(await exchange(noHost.port, GET)).toMatch(/^HTTP\/1.1 503 [^]*no healthy upstream$/);
  expect(noHost.records[0]).toMatchObject({ flags: ["UH"], details: "no_healthy_upstream" });
});

test("redirects and direct responses", async () => {
  await using redirect = await DataPath.start({
    route: { kind: "redirect", status: 301, location: () => "http://h/x" },
  });
  expect(await exchange(redirect.port, GET)).toMatch(/^HTTP\/1.1 301 Moved Permanently\r\nlocation: http:\/\/h\/x\r\n/);

  await using split = await DataPath.start({
    route: { kind: "redirect", status: 301, location: () => "/\r\nSet-Cookie: a" },
  });
  expect(await exchange(split.port, GET)).toMatch(/^HTTP\/1.1 400 /);

  await using direct = await DataPath.start({ route: { kind: "direct", status: 200, body: Buffer.from("hello") } });
  expect(await exchange(direct.port, GET)).toMatch(/content-type: text\/plain\r\n[^]*hello$/);
  expect(direct.records[0]).toMatchObject({ details: "direct_response", bytesSent: 5 });
});

test("an origin that cannot be reached is 503 with UF", async () => {
  await using path = await via(await freePort());
  expect(await exchange(path.port, GET)).toMatch(
    /^HTTP\/1.1 503 [^]*upstream connect error or disconnect\/reset before headers. reset reason: remote connection failure$/,
  );
  expect(path.records[0]).toMatchObject({
    flags: ["UF"],
    details:
      "upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}",
    upstreamTransportFailure: "delayed_connect_error:_Connection_refused",
    attempts: 1,
  });
  expect(path.stats.get("upstream_cx_connect_fail")).toBe(1);
});

test("an origin that closes before it answers is 503 with UC", async () => {
  await using origin = await answering(() => undefined);
  await using path = await via(origin.port);
  expect(await exchange(path.port, GET)).toMatch(/^HTTP\/1.1 503 [^]*reset reason: connection termination$/);
  expect(path.records[0]).toMatchObject({ flags: ["UC"], attempts: 1 });
  expect(origin.requests).toBe(1);
});

test.each([
  ["both framings", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
  ["two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na"],
  ["no status line", "garbage\r\n\r\n"],
  ["a bad status", "HTTP/1.1 099 No\r\n\r\n"],
  ["bare LF", "HTTP/1.1 200 OK\nContent-Length: 0\n\n"],
  ["a NUL", "HTTP/1.1 200 OK\r\nA: \0\r\n\r\n"],
  ["obs-fold", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 0\r\n\r\n"],
  ["an unexpected 101", "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"],
  ["a flood of 1xx", "HTTP/1.1 102 Processing\r\n\r\n".repeat(50)],
  ["a head over 60 KiB", `HTTP/1.1 200 OK\r\nA: ${"x".repeat(70_000)}\r\n\r\n`],
])("sec 8 a response with %s is 502 with UPE", async (_title, response) => {
  await using origin = await answering(() => response);
  await using path = await via(origin.port);
  expect(await exchange(path.port, GET)).toMatch(/HTTP\/1.1 502 Bad Gateway\r\n[^]*reset reason: protocol error$/);
  expect(path.records[0]).toMatchObject({ flags: ["UPE"] });
  await until(() => path.stats.get("upstream_cx_active") === 0);
});

test("sec 8 bytes after a response close its connection and reach nobody", async () => {
  await using origin = await answering(() => `${OK}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil`);
  await using path = await via(origin.port);
  const text = await exchange(path.port, KEPT + GET);
  expect(text).not.toContain("evil");
  expect(text.split("HTTP/1.1 200 OK")).toHaveLength(3);
  expect(origin.accepted).toBe(2);
});

test("a response that breaks off cuts the client off, too", async () => {
  await using origin = await TestServer.raw((socket) =>
    socket.once("data", () => socket.end("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")),
  );
  await using path = await via(origin.port);
  expect(await exchange(path.port, GET)).toMatch(/\r\n\r\nabc$/);
  expect(path.records[0]).toMatchObject({ status: 200, flags: ["UPE"], bytesSent: 3 });
});

test("a kept connection that died is replaced without the client noticing", async () => {
  await using origin = await answering((n) => (n === 2 ? undefined : OK));
  await using path = await via(origin.port);
  using client = new RawClient(path.port);
  await client.send(KEPT).until((text) => text.endsWith("ok"));
  const text = await client.send(GET).end();
  expect(text.split("HTTP/1.1 200 OK")).toHaveLength(3);
  expect(path.records[1]).toMatchObject({ flags: [], attempts: 2 });
});

test("sec 22 a POST on a kept connection that died is not sent twice", async () => {
  await using origin = await answering((n) => (n === 2 ? undefined : OK));
  await using path = await via(origin.port);
  using client = new RawClient(path.port);
  await client.send(KEPT).until((text) => text.endsWith("ok"));
  const text = await client.send("POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 1\r\n\r\na").end();
  expect(text).toContain("HTTP/1.1 503");
  expect(origin.requests).toBe(2);
});

test("retries go to another endpoint when one refuses connections", async () => {
  await using origin = await answering(() => OK);
  const cluster = clusterOf([endpointAt(await freePort()), endpointAt(origin.port)]);
  await using path = await DataPath.start({ cluster, action: { retry: retryPolicy(["connect-failure"]) } });
  expect(await exchange(path.port, GET)).toMatch(/^HTTP\/1.1 200 OK/);
  expect(path.records[0]).toMatchObject({ attempts: 2, flags: [] });
  expect(path.stats.get("upstream_rq_retry_success")).toBe(1);
  expect(cluster.load).toEqual({ connections: 1, pending: 0, requests: 0, retries: 0 });
});

test("retries on status repeat the body, and end with the last response", async () => {
  const bodies: string[] = [];
  await using origin = await answering((n, head) => {
    bodies.push(head.slice(head.indexOf("\r\n\r\n") + 4));
    return `HTTP/1.1 503 No\r\nContent-Length: 1\r\n\r\n${n}`;
  });
  await using path = await via(origin.port, { action: { retry: retryPolicy(["5xx"], { numRetries: 2 }) } });
  const text = await exchange(
    path.port,
    "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc",
  );
  expect(text).toMatch(/^HTTP\/1.1 503 Service Unavailable\r\n[^]*3$/);
  expect(bodies).toEqual(["abc", "abc", "abc"]);
  expect(path.records[0]).toMatchObject({ attempts: 3, flags: ["URX"] });
});

test("a body larger than what is kept is not sent again", async () => {
  let closed = 0;
  await using origin = await TestServer.http((request, response) => {
    request.resume().on("end", () => {
      closed++;
      response.writeHead(503).end();
    });
  });
  await using path = await via(origin.port, { action: { retry: retryPolicy(["5xx"]) } });
  const body = "x".repeat(200_000);
  const text = await exchange(
    path.port,
    `POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  );
  expect(text).toMatch(/^HTTP\/1.1 503 /);
  expect(closed).toBe(1);
});

test.each([
  ["gateway-error", 502, true],
  ["gateway-error", 500, false],
  ["retriable-4xx", 409, true],
  ["retriable-status-codes", 418, true],
  ["reset", 500, false],
])("retry on %s after %i: %s", async (on, status, again) => {
  await using origin = await answering((n) => (n === 1 ? `HTTP/1.1 ${status} X\r\nContent-Length: 0\r\n\r\n` : OK));
  const retry = retryPolicy([on], { retriableStatusCodes: new Set([418]) });
  await using path = await via(origin.port, { action: { retry } });
  expect(await exchange(path.port, GET)).toMatch(again ? /^HTTP\/1.1 200/ : new RegExp(`^HTTP/1.1 ${status}`));
});

test("the route's timeout is 504 with UT", async () => {
  await using origin = await TestServer.raw((socket) => socket.resume());
  await using path = await via(origin.port, { action: { timeoutMs: 50 } });
  expect(await exchange(path.port, GET)).toMatch(/^HTTP\/1.1 504 [^]*upstream request timeout$/);
  expect(path.records[0]).toMatchObject({ flags: ["UT"], details: "response_timeout" });
  await until(() => origin.sockets.size === 0);
});

test("each try's timeout leads to the next", async () => {
  let connections = 0;
  await using origin = await TestServer.raw((socket) => {
    const first = ++connections === 1;
    socket.on("data", () => first || socket.write(OK));
  });
  // A machine that stands still for as long takes more than one of them.
  const retry = retryPolicy(["5xx"], { perTryTimeoutMs: 200, numRetries: 50 });
  await using path = await via(origin.port, { action: { retry, timeoutMs: 60_000 } });
  expect(await exchange(path.port, GET)).toMatch(/^HTTP\/1.1 200 OK/);
  expect(path.stats.get("upstream_rq_per_try_timeout")).toBeGreaterThan(0);
});

test("what overflows a circuit breaker is 503 with UO", async () => {
  await using origin = await TestServer.raw((socket) => socket.resume());
  const breakers = { maxConnections: 1, maxPendingRequests: 1, maxRequests: 2, maxRetries: 1 };
  const cluster = clusterOf([endpointAt(origin.port)], { breakers });
  await using path = await DataPath.start({ cluster });
  using first = new RawClient(path.port).send(GET);
  await until(() => path.stats.get("upstream_rq_active") === 1 && cluster.load.pending === 0);
  using second = new RawClient(path.port).send(GET);
  await until(() => cluster.load.pending === 1);
  const text = await exchange(path.port, GET);
  expect(text).toMatch(/^HTTP\/1.1 503 [^]*x-envoy-overloaded: true[^]*reset reason: overflow$/);
  expect(path.records[0]).toMatchObject({ flags: ["UO"] });
  expect(origin.accepted).toBe(1);
  first.socket.destroy();
  second.socket.destroy();
  await until(() => cluster.load.requests === 0 && cluster.load.connections === 0 && cluster.load.pending === 0);
});

test("requests wait for a connection where no more may be opened", async () => {
  await using origin = await answering(() => OK);
  const breakers = { maxConnections: 1, maxPendingRequests: 100, maxRequests: 100, maxRetries: 1 };
  await using path = await DataPath.start({ cluster: clusterOf([endpointAt(origin.port)], { breakers }) });
  const answers = await Promise.all(Array.from({ length: 20 }, () => exchange(path.port, GET)));
  for (const answer of answers) expect(answer).toMatch(/^HTTP\/1.1 200 OK/);
  expect(origin.accepted).toBe(1);
});

test("an upstream connection ends with its idle time, its last request, or its endpoint", async () => {
  await using origin = await answering(() => OK);
  const endpoint = endpointAt(origin.port);
  await using idle = await DataPath.start({ cluster: clusterOf([endpoint], { idleTimeoutMs: 50 }) });
  await exchange(idle.port, GET);
  await until(() => idle.stats.get("upstream_cx_idle_timeout") === 1 && origin.sockets.size === 0);

  await using few = await DataPath.start({
    cluster: clusterOf([endpointAt(origin.port)], { maxRequestsPerConnection: 1 }),
  });
  await exchange(few.port, KEPT + GET);
  expect(few.stats.get("upstream_cx_max_requests")).toBe(2);

  const leaving = endpointAt(origin.port);
  await using path = await DataPath.start({ cluster: clusterOf([leaving]) });
  await exchange(path.port, GET);
  expect(path.stats.get("upstream_cx_active")).toBe(1);
  leaving.alive = false;
  await until(() => path.stats.get("upstream_cx_active") === 0);
});

test("path and host are rewritten, the original path is told", async () => {
  let seen = "";
  await using origin = await answering((_, head) => {
    seen = head;
    return OK;
  });
  await using path = await via(origin.port, {
    action: { rewritePath: () => "/new?x=1", hostRewrite: { kind: "literal", host: "inner" } },
  });
  await exchange(path.port, "GET /old?x=1 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  expect(seen).toMatch(/^GET \/new\?x=1 HTTP\/1.1\r\nhost: inner\r\n/);
  expect(seen).toContain("x-envoy-original-path: /old?x=1\r\n");
  expect(path.records[0]?.originalPath).toBe("/old?x=1");
});

test("a body where none may be is never taken for the next response", async () => {
  await using origin = await answering((n) => (n === 1 ? "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\n" : OK));
  await using path = await via(origin.port);
  expect(await exchange(path.port, GET)).toMatch(/^HTTP\/1.1 204 /);
  await until(() => path.stats.get("upstream_cx_active") === 0);
  expect(await exchange(path.port, GET)).toMatch(/^HTTP\/1.1 200 [^]*ok$/);
});

test("the breaker of retries is shown to be open while as many as may are under way", async () => {
  const breakers = { maxConnections: 1, maxPendingRequests: 9, maxRequests: 9, maxRetries: 1 };
  const cluster = clusterOf([endpointAt(await freePort())], { breakers });
  // 2^n - 1 times this, at random: mostly long enough for the others to come.
  const retry = retryPolicy(["connect-failure"], { backOffBaseMs: 1e7, backOffMaxMs: 1e7 });
  await using path = await DataPath.start({ cluster, action: { retry } });
  const gauge = () => path.stats.get("circuit_breakers.default.rq_retry_open");
  using waiting = new RawClient(path.port).send(GET);
  await until(() => cluster.load.retries === 1);
  expect(gauge()).toBe(1);
  expect(await exchange(path.port, GET)).toMatch(/^HTTP\/1.1 503 /);
  expect(path.stats.get("upstream_rq_retry_overflow")).toBe(1);
  waiting.socket.destroy();
  await until(() => cluster.load.retries === 0);
  expect(gauge()).toBe(0);
});

test("a retry budget grows with the requests under way, and takes the place of the number", async () => {
  const budget = { share: 1, min: 0 };
  const breakers = { maxConnections: 1, maxPendingRequests: 9, maxRequests: 9, maxRetries: 1, retryBudget: budget };
  const cluster = clusterOf([endpointAt(await freePort())], { breakers });
  const retry = retryPolicy(["connect-failure"], { backOffBaseMs: 1e7, backOffMaxMs: 1e7 });
  await using path = await DataPath.start({ cluster, action: { retry } });
  const clients = Array.from({ length: 3 }, () => new RawClient(path.port).send(GET));
  await until(() => cluster.load.retries === 3);
  expect(path.stats.get("upstream_rq_retry_overflow")).toBe(0);
  for (const { socket } of clients) socket.destroy();
  await until(() => cluster.load.retries === 0);
});
