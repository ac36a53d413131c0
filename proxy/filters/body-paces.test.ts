/** Clients that are too slow, over HTTP/1 and HTTP/2. */
import { connect } from "node:http2";

import { expect, test } from "vitest";

import { clusterOf, DataPath, endpointAt, TestServer } from "../../test/support/data-path.ts";
import { RawClient } from "../../test/support/raw-client.ts";
import { pause, until } from "../../test/support/wait.ts";

const UPLOAD = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\nabc";
const slow = { bytesPerSecond: 100, graceMs: 50 };
const fast = { bytesPerSecond: 1e9, graceMs: 60_000 };
const LARGE = Buffer.alloc(50_000_000, "x");

const start = async (bodyRates: { request: typeof slow; response: typeof slow }, body: Buffer | string = "ok") => {
  const origin = await TestServer.http((request, response) => {
    request.on("error", () => {}).resume();
    if (request.headers["x-talk"] === undefined) request.on("end", () => response.end(body));
    else response.writeHead(200).write("talk");
  });
  const path = await DataPath.start({ cluster: clusterOf([endpointAt(origin.port)]), http: { bodyRates } });
  return { origin, path };
};

test("a body that comes too slowly is answered by 408", async () => {
  const { origin, path } = await start({ request: slow, response: fast });
  await using _origin = origin;
  await using _path = path;
  using client = new RawClient(path.port);
  await client.send(UPLOAD).end();
  expect(client.received).toMatch(/^HTTP\/1.1 408 /);
  expect(path.records[0]).toMatchObject({ status: 408, details: "request_body_too_slow" });
  expect(path.stats.get("downstream_rq_timeout")).toBe(1);
});

test("over HTTP/2 as well, and other streams of the connection go on", async () => {
  const { origin, path } = await start({ request: slow, response: fast });
  await using _origin = origin;
  await using _path = path;
  const session = connect(`http://127.0.0.1:${path.port}`);
  const statusOf = (stream: ReturnType<typeof session.request>) =>
    new Promise((resolve) => stream.on("response", (headers) => resolve(headers[":status"])).on("error", () => {}));
  const upload = session.request({ ":method": "POST", ":path": "/" });
  upload.write("abc");
  expect(await statusOf(upload)).toBe(408);
  expect(await statusOf(session.request({ ":path": "/" }))).toBe(200);
  session.destroy();
});

test.each([
  ["a rate of 0", { request: { bytesPerSecond: 0, graceMs: 20 }, response: fast }, ""],
  ["a call of gRPC", { request: slow, response: fast }, "Content-Type: application/grpc\r\n"],
  ["a request that is answered already", { request: slow, response: fast }, "X-Talk: 1\r\n"],
])("%s has no hurry", async (_, rates, field) => {
  const { origin, path } = await start(rates);
  await using _origin = origin;
  await using _path = path;
  using client = new RawClient(path.port);
  client.send(UPLOAD.replace("\r\n\r\n", `\r\n${field}\r\n`));
  // A second request finds out that a while has passed, by the same clock.
  using other = new RawClient(path.port);
  const hasty = field === "" ? undefined : other.send(UPLOAD).end();
  if (hasty === undefined) await pause(200);
  else await hasty;
  expect(client.closed).toBe(false);
  client.send("x".repeat(997));
  await client.until((text) => (field.startsWith("X-Talk") ? text.includes("talk") : text.endsWith("ok")));
  expect(client.received).toMatch(/^HTTP\/1.1 200 /);
});

// What a kernel swallows at once is credit; at this rate it is good for nothing.
const greedy = { bytesPerSecond: 1e9, graceMs: 50 };

test("a client that does not take its response is cut off, whatever protocol it speaks", async () => {
  const { origin, path } = await start({ request: fast, response: greedy }, LARGE);
  await using _origin = origin;
  await using _path = path;
  using client = new RawClient(path.port);
  client.socket.pause();
  client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  await until(() => path.records.length === 1);
  const session = connect(`http://127.0.0.1:${path.port}`).on("error", () => {});
  session.request({ ":path": "/" }).on("error", () => {});
  await until(() => path.records.length === 2);
  for (const record of path.records) expect(record).toMatchObject({ status: 200, details: "response_reader_too_slow" });
  expect(path.stats.get("downstream_rq_idle_timeout")).toBe(2);
  session.destroy();
});
