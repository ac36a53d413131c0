/** How long a call may take: as long as the client's grpc-timeout says where a route heeds that, else as long as the route says; both data planes alike. */
import { createServer, type ServerHttp2Stream } from "node:http2";
import type { AddressInfo } from "node:net";

import { afterAll, beforeAll, expect, test } from "vitest";

import { type DataPlanes, startDataPlanes } from "../support/data-planes.ts";
import { type Http2Answer, Http2Client } from "../support/http2-client.ts";
import { waitFor } from "../support/wait.ts";

let planes: DataPlanes;
/** What has reached the upstream and is not answered yet, by path. */
const held = new Map<string, { readonly deadline: string; readonly stream: ServerHttp2Stream }>();

const origin = createServer();
origin.on("stream", (stream, headers) => {
  stream.on("error", () => {});
  held.set(String(headers[":path"]), { deadline: String(headers["grpc-timeout"] ?? ""), stream });
});

beforeAll(async () => {
  await new Promise<void>((resolve) => {
    origin.listen(0, "127.0.0.1", resolve);
  });
  const { port: originPort } = origin.address() as AddressInfo;
  planes = await startDataPlanes(
    (group, port) => `
gatewayGroups:
  - name: ${group}
    listeners: [{ name: http, address: 127.0.0.1, port: ${port} }]
services:
  - name: s
    gatewayGroup: ${group}
    upstreams:
      - { name: calls, protocol: grpc, timeouts: { request: 1s }, nodes: [{ host: 127.0.0.1, port: ${originPort} }] }
      - { name: both, protocol: http2, timeouts: { request: 1s }, nodes: [{ host: 127.0.0.1, port: ${originPort} }] }
    routes:
      - { name: root, paths: [/], directResponse: { status: 200 } }
      - { name: calls, paths: [/calls.Held/*], upstream: calls }
      - { name: both, paths: [/both.Held/*], upstream: both, timeouts: { grpcMax: 1h } }
`,
    "a.test",
  );
});

afterAll(async () => {
  await planes?.stop();
  origin.close();
});

const sides = ["native", "envoy"] as const;
const call = (path: string, more: Record<string, string> = {}) => ({
  ...{ ":method": "POST", ":path": path, ":authority": "a.test" },
  ...{ "content-type": "application/grpc", te: "trailers", ...more },
});

/** The answer, which must come within the time that waitFor gives; an HTTP/2 client alone would wait for ever. */
async function ended(what: string, answer: Promise<Http2Answer>): Promise<Http2Answer> {
  let found: Http2Answer | undefined;
  void answer.then((it) => (found = it));
  return await waitFor(what, () => found);
}

test.each(["calls", "both"])("%s: a client's deadline takes the place of the route's limit", async (route) => {
  const told: string[][] = [];
  for (const side of sides) {
    await using client = new Http2Client(planes[side].port);
    const path = (name: string) => `/${route}.Held/${side}-${name}`;
    const patient = client.ask(call(path("patient"), { "grpc-timeout": "600S" }), "");
    const there = await waitFor("the patient call", () => held.get(path("patient")));
    // It is over when the route's limit is, which is then over for the call before it, too.
    const other = await ended(`${side} to end a call without a deadline`, client.ask(call(path("impatient")), ""));
    expect(other.headers, side).toMatchObject({ "grpc-status": "4" });
    there.stream.respond(
      { ":status": 200, "content-type": "application/grpc", "grpc-status": "0" },
      { endStream: true },
    );
    expect((await ended(`${side} to answer the patient call`, patient)).headers).toMatchObject({ "grpc-status": "0" });
    told.push(["patient", "impatient"].map((name) => held.get(path(name))?.deadline ?? "nothing"));
  }
  expect(told[0]).toEqual(["600000m", "1000m"]);
  expect(told[0]).toEqual(told[1]);
});

test("what is no call is over in the same time, and its upstream is told of none", async () => {
  for (const side of sides) {
    await using client = new Http2Client(planes[side].port);
    const path = `/both.Held/${side}-plain`;
    const { status } = await ended(`${side} to answer`, client.ask({ ":path": path, ":authority": "a.test" }));
    expect([side, status, held.get(path)?.deadline]).toEqual([side, 504, ""]);
    let first: number | undefined;
    client.session
      .request({ ":method": "POST", ":path": `${path}-half`, ":authority": "a.test" }, { endStream: false })
      .on("error", () => {})
      .on("response", (headers) => (first = headers[":status"]));
    expect([side, await waitFor(`${side} to answer half a request`, () => first)]).toEqual([side, 408]);
  }
});
