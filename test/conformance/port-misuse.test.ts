/**
 * What breaks gRPC, on every method of the xDS port, from a client that knows nothing but HTTP/2: a status and a reason, on one connection with a
 * stream that goes on.
 */
import { once } from "node:events";
import { connect as connectTcp } from "node:net";

import { create, toBinary } from "@bufbuild/protobuf";
import { status } from "@grpc/grpc-js";
import { afterAll, beforeAll, expect, test } from "vitest";

import { HealthCheckRequestSchema } from "#proto/gen/grpc/health/v1/health_pb.ts";

import { MessageReader, messagePrefix } from "../../control-plane/xds/grpc-messages.ts";
import { ask } from "../support/http.ts";
import { Http2Client } from "../support/http2-client.ts";
import { resource } from "../support/xds-resources.ts";
import { startXdsRig, type XdsRig } from "../support/xds-rig.ts";

const streams = [
  "envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources",
  "envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources",
  "envoy.service.load_stats.v3.LoadReportingService/StreamLoadStats",
  "envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs",
  "envoy.service.status.v3.ClientStatusDiscoveryService/StreamClientStatus",
  "grpc.health.v1.Health/Watch",
  "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
  "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];
const unary = [
  "envoy.service.status.v3.ClientStatusDiscoveryService/FetchClientStatus",
  "envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit",
  "envoy.service.cluster.v3.ClusterDiscoveryService/FetchClusters",
  "grpc.health.v1.Health/Check",
];
const methods = [...streams, ...unary];

const GRPC = { ":method": "POST", "content-type": "application/grpc", te: "trailers" };
const framed = (bytes: Uint8Array) => Buffer.concat([messagePrefix(bytes.length), bytes]);
const garbage = framed(Buffer.from("0affffffff0f", "hex"));
const check = framed(toBinary(HealthCheckRequestSchema, create(HealthCheckRequestSchema)));

let rig: XdsRig;
let client: Http2Client;
beforeAll(async () => {
  rig = await startXdsRig([resource("CDS", "a")]);
  client = new Http2Client(portOf(rig));
});
afterAll(async () => {
  // Whatever was asked, the connection is the first one, and answers.
  expect(client.session.destroyed).toBe(false);
  const { trailers } = await client.ask({ ...GRPC, ":path": "/grpc.health.v1.Health/Check" }, check);
  expect(trailers?.["grpc-status"]).toBe("0");
  await client[Symbol.asyncDispose]();
  await rig[Symbol.asyncDispose]();
});

const portOf = ({ server }: XdsRig) => Number(server.address.split(":")[1]);

/** How a call ends: "CODE: reason". */
async function end(path: string, body: Buffer, headers: Record<string, string> = {}): Promise<string> {
  const answer = await client.ask({ ...GRPC, ":path": `/${path}`, ...headers }, body);
  const said = { ...answer.headers, ...answer.trailers };
  expect([answer.status, answer.resetCode]).toEqual([200, 0]);
  return `${status[Number(said["grpc-status"])]}: ${decodeURIComponent(said["grpc-message"] ?? "")}`;
}

test.each(methods)("%s: what is no message of its kind", async (path) => {
  const bystander = rig.delta();
  bystander.send({ typeUrl: resource("CDS", "a").typeUrl });
  await bystander.next();
  for (const bytes of ["0affffffff0f", "ff", "0a05", "3affffffff0f01", "12ff"]) {
    expect(await end(path, framed(Buffer.from(bytes, "hex")))).toMatch(
      /^INVALID_ARGUMENT: the (request|message) is no /,
    );
  }
  rig.change(resource("CDS", `after ${path}`));
  expect((await bystander.next()).resources.map(({ name }) => name)).toEqual([`after ${path}`]);
});

test.each(methods)("%s: half a message, and one that is too large, and one that is compressed", async (path) => {
  expect(await end(path, check.subarray(0, 3))).toBe("INVALID_ARGUMENT: the last message is cut short");
  const head = Buffer.from("00ffffffff", "hex");
  expect(await end(path, head)).toMatch(/^RESOURCE_EXHAUSTED: a message of 4294967295 bytes is larger than \d+$/);
  for (const encoding of ["gzip", "snappy", "identity", "\u00e4"]) {
    const answer = end(path, Buffer.from("010000000199", "hex"), { "grpc-encoding": encoding });
    expect(await answer).toBe("UNIMPLEMENTED: compressed messages are not taken");
  }
});

test.each(methods)("%s: a deadline that has passed, and one that is none", async (path) => {
  const stream = client.session.request({ ...GRPC, ":path": `/${path}`, "grpc-timeout": "1m" });
  let said: Record<string, unknown> = {};
  stream.on("response", (headers) => (said = { ...headers }));
  // It says nothing, and never ends.
  await once(stream, "close");
  expect(said["grpc-status"]).toBe(String(status.DEADLINE_EXCEEDED));
  expect(await end(path, Buffer.alloc(0), { "grpc-timeout": "soon" })).toBe(
    "INVALID_ARGUMENT: grpc-timeout is no time",
  );
});

test.each(unary)("%s: no message, and two", async (path) => {
  expect(await end(path, Buffer.alloc(0))).toBe("INVALID_ARGUMENT: the call has no message");
  const none = framed(Buffer.alloc(0));
  expect(await end(path, Buffer.concat([none, none]))).toBe("INVALID_ARGUMENT: the call has more than one message");
});

test("Health.Watch: no message, and two", async () => {
  expect(await end("grpc.health.v1.Health/Watch", Buffer.alloc(0))).toMatch(/^INVALID_ARGUMENT: .* no message/);
  expect(await end("grpc.health.v1.Health/Watch", Buffer.concat([check, check]))).toMatch(/^INVALID_ARGUMENT: .* more/);
});

test.each([
  "envoy.service.cluster.v3.ClusterDiscoveryService/Nothing",
  "made.up.Service/Method",
  "grpc.health.v1.Health",
  "",
  "a%20b/c",
])("a method that there is not: /%s", async (path) => {
  expect(await end(path, garbage)).toBe(`UNIMPLEMENTED: there is no method /${path} on this port`);
});

test.each([
  ["application/json", 415],
  ["application/grpc+json", 415],
  ["application/grpc-web", 415],
  ["application/grpc-web+proto", 415],
  ["application/grpcs", 415],
  ["text/plain", 415],
])("a call of %s gets %i and words", async (type, code) => {
  const answer = await client.ask({ ":method": "POST", ":path": `/${unary[0]}`, "content-type": type }, garbage);
  expect([answer.status, answer.body]).toEqual([code, expect.stringContaining("application/grpc")]);
});

test.each(["application/grpc", "application/grpc+proto", "application/grpc; charset=utf-8", "Application/GRPC"])(
  "a call of %s is one",
  async (type) => {
    expect(await end("grpc.health.v1.Health/Check", check, { "content-type": type })).toBe("OK: ");
  },
);

test("what is no POST gets 405", async () => {
  const answer = await client.ask({ ":method": "GET", ":path": `/${streams[0]}`, "content-type": "application/grpc" });
  expect([answer.status, answer.headers["allow"]]).toEqual([405, "POST"]);
});

test("gRPC's paths over HTTP/1.1 get 404 and words", async () => {
  const headers = { "content-type": "application/grpc" };
  const answer = await ask(portOf(rig), { method: "POST", path: `/${streams[0]}`, headers, body: "\0" });
  expect([answer.status, answer.body]).toEqual([404, expect.stringContaining("/v3/discovery")]);
});

test("each is counted by service and status", () => {
  const text = rig.metrics.text();
  const failed = (service: string, code: string) =>
    Number(new RegExp(`calls_failed_total\\{service="${service}",code="${code}"\\} (\\d+)`).exec(text)?.[1] ?? 0);
  expect(failed("envoy\\.service\\.accesslog\\.v3\\.AccessLogService", "INVALID_ARGUMENT")).toBeGreaterThan(0);
  expect(failed("grpc\\.health\\.v1\\.Health", "RESOURCE_EXHAUSTED")).toBe(2);
  expect(failed("", "UNIMPLEMENTED")).toBeGreaterThan(0);
});

test("a client that doesn't read is not read from; all is answered when it does", async () => {
  const stream = client.session.request({ ...GRPC, ":path": `/${streams[6]}` });
  // host = 1, list_services = 7: several windows of them, and much more of answers.
  const request = framed(
    Buffer.concat([Buffer.from([0x0a, 100]), Buffer.alloc(100, "h"), Buffer.from("3a012a", "hex")]),
  );
  const count = 4_000;
  stream.pause();
  stream.end(Buffer.concat(Array.from({ length: count }, () => request)));
  // The server has been there and back many times, and has read no more than a window.
  for (let round = 0; round < 50; round++) expect(await end("grpc.health.v1.Health/Check", check)).toBe("OK: ");
  expect(stream.writableLength).toBeGreaterThan(0);
  const reader = new MessageReader(1_000_000);
  let answers = 0;
  stream.on("data", (piece: Buffer) => {
    for (const { bytes } of reader.read(piece)) answers += bytes.length > 100 ? 1 : 0;
  });
  stream.resume();
  await once(stream, "close");
  expect(answers).toBe(count);
});

test("connections of HTTP/1.1 that have said half a request end with the server", async () => {
  await using own = await startXdsRig([]);
  const socket = connectTcp(portOf(own), "127.0.0.1");
  await once(socket, "connect");
  socket.write("POST /v3/discovery:clusters HTTP/1.1\r\nHos");
  // Another one is read after it.
  expect((await ask(portOf(own), { path: "/" })).status).toBe(404);
  const closed = once(socket.resume(), "close");
  await own.server.close(60_000);
  await closed;
});
