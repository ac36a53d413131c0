/** Which of an endpoint's HTTP/2 connections carries a request when some are not to be used any more. */
import { readFileSync } from "node:fs";
import { createSecureServer } from "node:http2";
import type { Socket } from "node:net";
import { join } from "node:path";

import { expect, test } from "vitest";

import { clusterOf, DataPath, endpointAt, TestServer, upstreamTls } from "../../test/support/data-path.ts";
import { exchange, RawClient } from "../../test/support/raw-client.ts";
import { until } from "../../test/support/wait.ts";
import { frame, frames } from "../../test/support/raw-http2-origin.ts";
import { http2Defaults } from "../cluster/http2-options.ts";

const GET = "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
const read = (name: string) => readFileSync(join(import.meta.dirname, "testdata", name), "utf8");
const pems = { key: read("origin.key.pem"), cert: read("origin.cert.pem") };

test("after a change of TLS all former connections are left at once, and requests share the new one", async () => {
  const held: (() => void)[] = [];
  let holds = true;
  const server = createSecureServer(pems, (_request, response) => {
    if (holds) held.push(() => response.end("ok"));
    else response.end("ok");
  });
  await using origin = await TestServer.listen(server);
  const http2 = { ...http2Defaults, maxConcurrentStreams: 1 };
  const cluster = clusterOf([endpointAt(origin.port)], { protocol: "http2", tls: upstreamTls, http2 });
  await using path = await DataPath.start({ cluster });
  const both = Promise.all([exchange(path.port, GET), exchange(path.port, GET)]);
  await until(() => held.length === 2);
  for (const release of held) release();
  await both;
  expect(origin.accepted).toBe(2);

  holds = false;
  Object.assign(cluster.settings, { tls: { ...upstreamTls } });
  for (let n = 0; n < 3; n++) expect(await exchange(path.port, GET)).toMatch(/^HTTP\/1.1 200 /);
  expect(origin.accepted).toBe(3);
  await until(() => path.stats.get("upstream_cx_active") === 1);
});

test("a connection that is to end does so, though it could not carry the upgrade that waited for its settings", async () => {
  let connection: Socket | undefined;
  await using origin = await TestServer.raw((socket) => (connection = socket.resume()));
  const settings = { protocol: "http2", maxConnectionDurationMs: 100 } as const;
  await using path = await DataPath.start({
    cluster: clusterOf([endpointAt(origin.port)], settings),
    action: { upgrades: new Map([["websocket", true]]), timeoutMs: 0 },
  });
  using client = new RawClient(path.port);
  client.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
  await until(() => path.stats.get("upstream_cx_max_duration_reached") === 1);
  // Without extended CONNECT (RFC 8441).
  connection?.write(frame(frames.settings, 0, 0));
  await client.until((text) => text.startsWith("HTTP/1.1 502 "));
  await until(() => path.stats.get("upstream_cx_active") === 0);
});
