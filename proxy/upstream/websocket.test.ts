/** What can go wrong around a websocket's tunnel, byte for byte: ends, frames larger than any buffer, bytes sent ahead, refusals. */
import { expect, test } from "vitest";

import { clusterOf, DataPath, endpointAt, TestServer } from "../../test/support/data-path.ts";
import { RawClient } from "../../test/support/raw-client.ts";
import { until } from "../../test/support/wait.ts";

const UPGRADE =
  "GET /live HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
  "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCH =
  "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
  "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
/** A close frame of the client (masked, code 1000), and the server's answer. */
const CLOSE = "\x88\x82\0\0\0\0\x03\xe8";
const CLOSED = "\x88\x02\x03\xe8";

/** The socket of the origin, its input so far, and whether it has ended. */
interface OriginSide {
  got: string;
  ended: boolean;
  write(text: string): void;
  end(): void;
}

/** An origin that calls `onHead` when a request's head is there, and keeps what then comes. */
function originOf(onHead: (side: OriginSide) => void, sides: OriginSide[] = []): Promise<TestServer> {
  return TestServer.raw((socket) => {
    let head = "";
    const side: OriginSide = {
      got: "",
      ended: false,
      write: (text) => void socket.write(text, "latin1"),
      end: () => void socket.end(),
    };
    sides.push(side);
    socket.on("end", () => (side.ended = true));
    socket.on("data", (bytes) => {
      if (head.includes("\r\n\r\n")) return void (side.got += bytes.toString("latin1"));
      head += bytes.toString("latin1");
      const end = head.indexOf("\r\n\r\n");
      if (end < 0) return;
      side.got += head.slice(end + 4);
      onHead(side);
    });
  }, true);
}

const allowing = (port: number) =>
  DataPath.start({
    cluster: clusterOf([endpointAt(port)]),
    action: { upgrades: new Map([["websocket", true]]) },
  });

const atRest = (path: DataPath) =>
  until(() => path.stats.get("upstream_cx_active") === 0 && path.stats.get("downstream_cx_active") === 0);

test("the close handshake, begun by the client, goes to its end", async () => {
  const sides: OriginSide[] = [];
  await using origin = await originOf((side) => side.write(SWITCH), sides);
  await using path = await allowing(origin.port);
  using client = new RawClient(path.port);
  await client.send(UPGRADE).until((text) => text.includes("\r\n\r\n"));
  client.send(CLOSE);
  await until(() => sides[0]?.got === CLOSE);
  sides[0]?.write(CLOSED);
  // The server closes first (RFC 6455, 7.1.1).
  sides[0]?.end();
  expect((await client.end()).endsWith(`\r\n\r\n${CLOSED}`)).toBe(true);
  client.socket.end();
  await atRest(path);
});

test("a half that the origin ends leaves the other open", async () => {
  const sides: OriginSide[] = [];
  await using origin = await originOf((side) => side.write(SWITCH), sides);
  await using path = await allowing(origin.port);
  using client = new RawClient(path.port);
  await client.send(UPGRADE).until((text) => text.includes("\r\n\r\n"));
  sides[0]?.write("bye");
  sides[0]?.end();
  expect((await client.end()).endsWith("bye")).toBe(true);
  client.send("still");
  await until(() => sides[0]?.got === "still");
  client.socket.end();
  await until(() => sides[0]?.ended === true);
  await atRest(path);
});

test("a half that the client ends leaves the other open", async () => {
  const sides: OriginSide[] = [];
  await using origin = await originOf((side) => side.write(SWITCH), sides);
  await using path = await allowing(origin.port);
  using client = new RawClient(path.port);
  await client.send(UPGRADE).until((text) => text.includes("\r\n\r\n"));
  client.socket.end("over");
  await until(() => sides[0]?.ended === true);
  expect(sides[0]?.got).toBe("over");
  sides[0]?.write("x".repeat(300_000));
  sides[0]?.write("done");
  sides[0]?.end();
  const all = await client.end();
  expect(all.endsWith("xdone")).toBe(true);
  expect(all.length).toBeGreaterThan(300_000);
  await atRest(path);
});

test("bytes in the segment of the 101 follow it", async () => {
  await using origin = await originOf((side) => side.write(`${SWITCH}\x81\x05hello`));
  await using path = await allowing(origin.port);
  using client = new RawClient(path.port);
  const text = await client.send(UPGRADE).until((all) => all.endsWith("hello"));
  expect(text).toMatch(/^HTTP\/1\.1 101 /);
  expect(text.endsWith("\r\n\r\n\x81\x05hello")).toBe(true);
});

test("bytes that the client sends ahead of the 101 reach the origin after it, and only then", async () => {
  const sides: OriginSide[] = [];
  await using origin = await originOf(() => {}, sides);
  await using path = await allowing(origin.port);
  using client = new RawClient(path.port);
  const ahead = "a".repeat(200_000);
  client.send(UPGRADE + ahead);
  await until(() => sides.length === 1 && path.stats.get("downstream_cx_rx_bytes_total") > 60_000);
  expect(sides[0]?.got).toBe("");
  sides[0]?.write(SWITCH);
  await until(() => sides[0]?.got.length === ahead.length);
  expect(sides[0]?.got).toBe(ahead);
});

test("a client that ends its half before the 101 ends it for the origin, too", async () => {
  const sides: OriginSide[] = [];
  await using origin = await originOf(() => {}, sides);
  await using path = await allowing(origin.port);
  using client = new RawClient(path.port);
  client.socket.end(`${UPGRADE}ahead`, "latin1");
  await until(() => sides.length === 1);
  sides[0]?.write(`${SWITCH}answer`);
  await until(() => sides[0]?.got === "ahead");
  await until(() => sides[0]?.ended === true);
  sides[0]?.end();
  expect((await client.end()).endsWith("answer")).toBe(true);
  await atRest(path);
});

test("what a client sent ahead of a refusal is its next request, where the origin goes on with HTTP", async () => {
  const sides: OriginSide[] = [];
  await using origin = await originOf((side) => side.write("HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno"), sides);
  await using path = await allowing(origin.port);
  using client = new RawClient(path.port);
  client.send(`${UPGRADE}GET /smuggled HTTP/1.1\r\nHost: h\r\nContent-Length : 1\r\n\r\n`);
  const answer = await client.end();
  expect([...answer.matchAll(/HTTP\/1\.1 (\d{3})/g)].map(([, status]) => status)).toEqual(["403", "400"]);
  // The origin has never seen the tunnel's bytes, since there was no tunnel.
  expect(sides.map(({ got }) => got)).toEqual([""]);
});

test.each([
  ["no Upgrade", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n"],
  ["no Connection", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"],
  ["another protocol", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"],
])("sec 6 a 101 with %s opens no tunnel", async (_title, answer) => {
  const sides: OriginSide[] = [];
  await using origin = await originOf((side) => side.write(answer), sides);
  await using path = await allowing(origin.port);
  using client = new RawClient(path.port);
  client.send(UPGRADE);
  await client.until((text) => text.startsWith("HTTP/1.1 502"));
  client.send("GET /tunnelled HTTP/1.1\r\nHost: h\r\n\r\n");
  await until(() => path.stats.get("upstream_cx_active") <= 1);
  expect(sides[0]?.got).toBe("");
});

test("sec 6 after a 200 to an upgrade nothing but HTTP passes", async () => {
  const sides: OriginSide[] = [];
  await using origin = await originOf((side) => side.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), sides);
  await using path = await allowing(origin.port);
  using client = new RawClient(path.port);
  await client.send(UPGRADE).until((text) => text.endsWith("ok"));
  client.send("\x81\x05hello\r\n\r\n");
  expect(await client.end()).toMatch(/ok\r?\n?HTTP\/1\.1 400 |okHTTP\/1\.1 400 /);
  expect(sides.every(({ got }) => got === "")).toBe(true);
});

test("frames larger than any buffer go both ways at once", async () => {
  await using origin = await TestServer.raw((socket) => {
    socket.once("data", () => {
      socket.write(SWITCH, "latin1");
      socket.pipe(socket);
    });
  });
  await using path = await allowing(origin.port);
  using client = new RawClient(path.port);
  const { length: head } = await client.send(UPGRADE).until((text) => text.endsWith("\r\n\r\n"));
  let length = 0;
  client.socket.removeAllListeners("data").on("data", (bytes) => (length += bytes.length));
  const frame = Buffer.alloc(1 << 20, "f");
  for (let i = 0; i < 32; i++) client.socket.write(frame);
  await until(() => length === 32 * frame.length);
  expect(head).toBeGreaterThan(0);
});

test.each(["reset", "end"] as const)(
  "an origin that leaves (%s) amid a frame ends the client's tunnel",
  async (how) => {
    await using origin = await TestServer.raw((socket) => {
      socket.once("data", () =>
        socket.write(`${SWITCH}\x81\x7dabc`, "latin1", () => {
          if (how === "reset") socket.resetAndDestroy();
          else socket.destroySoon();
        }),
      );
    });
    await using path = await allowing(origin.port);
    using client = new RawClient(path.port);
    expect(await client.send(UPGRADE).end()).toMatch(/^HTTP\/1\.1 101 /);
    client.socket.end();
    await atRest(path);
    expect(path.records).toHaveLength(1);
  },
);
