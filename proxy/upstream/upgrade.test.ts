/** Tunnels after an upgrade, over real sockets. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createServer as createSecure } from "node:tls";

import { expect, test } from "vitest";

import {
  clusterOf,
  DataPath,
  type DataPathOptions,
  endpointAt,
  TestServer,
  upstreamTls,
} from "../../test/support/data-path.ts";
import { RawClient } from "../../test/support/raw-client.ts";
import { pause, until } from "../../test/support/wait.ts";

const UPGRADE =
  "GET /live HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n";
const SWITCH = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

/** An origin that upgrades and then echoes. */
const echo = (answer = SWITCH) =>
  TestServer.raw((socket) => {
    let head: string | undefined = "";
    socket.on("data", (bytes) => {
      if (head === undefined) return void socket.write(bytes);
      head += bytes.toString("latin1");
      if (!head.includes("\r\n\r\n")) return;
      expect(head).toMatch(/connection: upgrade\r\nupgrade: websocket\r\n/);
      head = undefined;
      socket.write(answer, "latin1");
    });
    socket.on("end", () => socket.end());
  }, true);

/** Of the route; whoever only wants an answer has more than enough. */
const TIMEOUT_MS = 3_000;

const allowing = (port: number, changes: DataPathOptions = {}, timeoutMs = 60_000) =>
  DataPath.start({
    cluster: clusterOf([endpointAt(port)]),
    action: { upgrades: new Map([["websocket", true]]), timeoutMs },
    ...changes,
  });

test("a websocket echoes both ways, beyond the route's timeout, and ends half by half", async () => {
  await using origin = await echo();
  await using path = await allowing(origin.port, {}, TIMEOUT_MS);
  using client = new RawClient(path.port);
  client.send(UPGRADE);
  const head = await client.until((text) => text.includes("\r\n\r\n"));
  expect(head).toMatch(/^HTTP\/1.1 101 Switching Protocols\r\n[^]*connection: upgrade\r\nupgrade: websocket\r\n/);
  await client.send("ping").until((text) => text.endsWith("ping"));
  // The route's timeout is long over then.
  await pause(1.5 * TIMEOUT_MS);
  await client.send("again").until((text) => text.endsWith("again"));
  const large = "x".repeat(1_000_000);
  await client.send(large).until((text) => text.length >= head.length + large.length);
  client.socket.end();
  await client.end();
  await until(() => path.records.length === 1);
  expect(path.records[0]).toMatchObject({ status: 101, flags: [], bytesReceived: 1_000_009, bytesSent: 1_000_009 });
  expect(path.stats.get("downstream_cx_upgrades_active")).toBe(0);
  await until(() => path.stats.get("upstream_cx_active") === 0);
});

test("a client that ended its half ahead of the 101 gets all that comes behind it from a TLS origin", async () => {
  const read = (name: string) => readFileSync(join(import.meta.dirname, "testdata", name));
  const [key, cert] = [read("origin.key.pem"), read("origin.cert.pem")];
  const body = "b".repeat(200_000);
  const server = createSecure({ key, cert, allowHalfOpen: true }, (socket) => {
    // All in one go, so that much of it is there before the 101 is read.
    socket.once("data", () => socket.end(`${SWITCH}${body}`)).on("error", () => {});
  });
  await using origin = await TestServer.listen(server);
  const cluster = clusterOf([endpointAt(origin.port)], { tls: upstreamTls });
  await using path = await allowing(origin.port, { cluster });
  using client = new RawClient(path.port);
  client.socket.end(UPGRADE);
  expect((await client.end()).split("\r\n\r\n")[1]).toHaveLength(body.length);
});

test("an idle tunnel is closed", async () => {
  await using origin = await echo();
  await using path = await allowing(origin.port, { http: { streamIdleTimeoutMs: 1_000 } });
  using client = new RawClient(path.port);
  await client.send(UPGRADE).end();
  expect(path.records[0]).toMatchObject({ status: 101, flags: ["SI"] });
});

test("a tunnel whose client is gone is given up", async () => {
  await using origin = await echo();
  await using path = await allowing(origin.port);
  {
    using client = new RawClient(path.port);
    await client.send(UPGRADE).until((text) => text.includes("101"));
    client.socket.resetAndDestroy();
  }
  await until(() => path.records.length === 1 && origin.sockets.size === 0);
});

test("an origin that doesn't upgrade answers as usual, and the connection goes on", async () => {
  await using origin = await echo("HTTP/1.1 400 No\r\nContent-Length: 2\r\n\r\nno");
  await using path = await allowing(origin.port);
  using client = new RawClient(path.port);
  await client.send(UPGRADE).until((text) => /^HTTP\/1.1 400 [^]*no$/.test(text));
});

test("sec 6 a 101 to another protocol is 502", async () => {
  await using origin = await echo("HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n");
  await using path = await allowing(origin.port);
  using client = new RawClient(path.port);
  await client.send(UPGRADE).until((text) => text.startsWith("HTTP/1.1 502"));
});

test("sec 6 an upgrade that HTTP/1.0 asks for is ignored (RFC 9110, 7.8)", async () => {
  let seen = "";
  await using origin = await TestServer.raw((socket) =>
    socket.on("data", (bytes) => {
      seen += bytes.toString("latin1");
      if (seen.endsWith("\r\n\r\n")) socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    }),
  );
  await using path = await allowing(origin.port, { http: { acceptHttp10: true } });
  using client = new RawClient(path.port);
  expect(await client.send(UPGRADE.replace("HTTP/1.1", "HTTP/1.0")).end()).toMatch(/^HTTP\/1.1 200 [^]*ok$/);
  expect(seen).toMatch(/^GET \/live HTTP\/1.1\r\n/);
  expect(seen).not.toMatch(/\nupgrade:|\nconnection:/i);
});

test.each([
  ["POST", UPGRADE.replace("GET", "POST")],
  ["a body", UPGRADE.replace("Host: h", "Host: h\r\nContent-Length: 1").concat("a")],
  ["another type", UPGRADE.replace("websocket", "other")],
])("sec 6 an upgrade with %s is forbidden", async (_title, request) => {
  await using path = await allowing(1);
  using client = new RawClient(path.port);
  await client.send(request).until((text) => text.startsWith("HTTP/1.1 403"));
});
