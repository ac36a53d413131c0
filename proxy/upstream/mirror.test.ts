/** Copies of requests, as far as test/differential/mirror.test.ts can't see them: they are bounded, and hold nobody up. */
import { createServer } from "node:http2";
import type { AddressInfo } from "node:net";

import { expect, test } from "vitest";

import { clusterOf, DataPath, endpointAt, TestServer } from "../../test/support/data-path.ts";
import { RawClient } from "../../test/support/raw-client.ts";
import { until } from "../../test/support/wait.ts";
import type { Cluster } from "../cluster/cluster.ts";

const BODY_BYTES = 40_000_000;
const head = (length: number) => `POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: ${length}\r\n\r\n`;

const start = (main: TestServer, copies: Cluster) =>
  DataPath.start({
    cluster: clusterOf([endpointAt(main.port)]),
    clusters: { copies },
    action: { mirrors: [{ cluster: () => "copies", fraction: 1, marksHost: false }] },
  });

const echo = () =>
  TestServer.http((request, response) => {
    request.resume().on("end", () => response.end("ok"));
  });

test.each([
  ["never reads", false],
  ["cannot be reached", true],
])("a copy whose place %s is given up, and the request goes on", async (_, closed) => {
  await using main = await echo();
  await using deaf = await TestServer.raw((socket) => socket.pause());
  const copies = clusterOf([endpointAt(closed ? 1 : deaf.port)]);
  await using path = await start(main, copies);
  using client = new RawClient(path.port);
  client.send(head(BODY_BYTES)).send("x".repeat(BODY_BYTES));
  await client.until((text) => text.endsWith("ok"));
  await until(() => copies.load.requests === 0);
  expect(copies.load).toMatchObject({ connections: 0, pending: 0, requests: 0 });
  expect(path.records[0]).toMatchObject({ status: 200, bytesReceived: BODY_BYTES });
});

test("over HTTP/2 a copy has its whole body, and counts against its cluster's breaker like every request", async () => {
  const seen: string[] = [];
  let answer: (() => void) | undefined;
  const server = createServer((request, response) => {
    let bytes = 0;
    request.on("data", (piece: Buffer) => {
      bytes += piece.length;
    });
    request.on("end", () => {
      seen.push(`${request.method} ${request.url} ${request.authority} ${bytes}`);
      answer = () => response.end();
    });
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  const breakers = { maxConnections: 1, maxPendingRequests: 1, maxRequests: 1, maxRetries: 1 };
  const copies = clusterOf([endpointAt((server.address() as AddressInfo).port)], { protocol: "http2", breakers });
  await using main = await echo();
  await using path = await start(main, copies);
  using client = new RawClient(path.port);
  await client.send(`${head(3)}abc`).until((text) => text.endsWith("ok"));
  await until(() => seen.length === 1);
  // The first copy is still to be answered.
  await client.send(`${head(3)}abc`).until((text) => text.split("ok").length === 3);
  expect(path.stats.get("upstream_rq_pending_overflow")).toBe(1);
  answer?.();
  await until(() => copies.load.requests === 0);
  await client.send(`${head(4)}abcd`).until((text) => text.split("ok").length === 4);
  await until(() => seen.length === 2);
  expect(seen).toEqual(["POST /x h 3", "POST /x h 4"]);
  answer?.();
  client.socket.destroy();
  await path.listener.close();
  server.close();
});
