/** HTTP/2 clients on the real data path, with HTTP/1 origins behind it. */
import { connect } from "node:http2";

import { expect, test } from "vitest";

import { clusterOf, DataPath, endpointAt, TestServer } from "../../test/support/data-path.ts";
import { RawClient } from "../../test/support/raw-client.ts";
import { pause, standstill, until } from "../../test/support/wait.ts";
import { Http2Client } from "../../test/support/http2-client.ts";
import * as h2 from "../../test/support/http2-frames.ts";
import { edgeDefaults } from "./options.ts";

/** An origin that tells what it got. */
const echo = () =>
  TestServer.http((request, response) => {
    let text = "";
    request
      .on("data", (piece) => (text += piece))
      .on("end", () => {
        const { method, url, headers, rawHeaders } = request;
        response.setHeader("x-length", String(rawHeaders.length));
        response.end(JSON.stringify({ method, url, headers, text }));
      });
  });

const dataPath = (origin: TestServer, http = {}) =>
  DataPath.start({ cluster: clusterOf([endpointAt(origin.port)]), http });

test("a request and its response, by prior knowledge", async () => {
  await using origin = await echo();
  await using path = await dataPath(origin);
  await using client = new Http2Client(path.port);
  const { status, headers, body } = await client.ask({
    ":path": "/a?b",
    ":authority": "shop.test",
    cookie: ["a=1", "b=2"],
  });
  expect(status).toBe(200);
  expect(headers["server"]).toBe("sluice");
  const seen = JSON.parse(body) as { method: string; url: string; headers: Record<string, string> };
  expect(seen).toMatchObject({ method: "GET", url: "/a?b", headers: { host: "shop.test", cookie: "a=1; b=2" } });
  await until(() => path.records.length === 1);
  expect(path.records[0]).toMatchObject({ protocol: "HTTP/2", status: 200, details: "via_upstream" });
});

test("bodies go up and down, with and without a length", async () => {
  await using origin = await echo();
  await using path = await dataPath(origin);
  await using client = new Http2Client(path.port);
  const large = "x".repeat(300_000);
  const answers = await Promise.all([
    client.ask({ ":method": "POST", "content-length": "3" }, "abc"),
    client.ask({ ":method": "PUT" }, large),
    client.ask({ ":method": "POST", "content-length": "0" }),
    client.ask({ ":method": "HEAD" }),
  ]);
  const seen = answers.map(({ body }) =>
    body === "" ? undefined : (JSON.parse(body) as { text: string; headers: object }),
  );
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
  expect(seen[0]).toMatchObject({ text: "abc", headers: { "content-length": "3" } });
  expect(seen[1]).toMatchObject({ headers: { "transfer-encoding": "chunked" } });
  expect(seen[1]?.text === large).toBe(true);
  expect(seen[2]).toMatchObject({ text: "", headers: { "content-length": "0" } });
  expect(answers[3]?.body).toBe("");
});

test("local replies come as they do over HTTP/1, and the connection goes on", async () => {
  await using path = await DataPath.start({ route: null });
  await using client = new Http2Client(path.port);
  for (let i = 0; i < 2; i++) {
    const answer = await client.ask({ ":method": "POST" }, "body that nobody reads");
    expect(answer).toMatchObject({ status: 404, resetCode: 0 });
  }
  expect(path.stats.get("downstream_cx_total")).toBe(1);
  expect(path.records.map(({ flags }) => flags)).toEqual([["NR"], ["NR"]]);
});

test("what HTTP/1 refuses is refused here, too", async () => {
  await using origin = await echo();
  await using path = await dataPath(origin);
  await using client = new Http2Client(path.port);
  const status = async (headers: object) => {
    const answer = await client.ask({ ...headers });
    return answer.resetCode === 1 ? "reset" : answer.status;
  };
  expect(await status({ ":authority": "a.test", host: "b.test" })).toBe(400);
  expect(await status({ ":authority": "A.test", host: "a.test" })).toBe(200);
  expect(await status({ ":authority": "a b" })).toBe("reset");
  expect(await status({ ":authority": "user@a.test" })).toBe("reset");
  expect(await status({ ":authority": "a.test:123456" })).toBe(400);
  expect(await status({ ":path": "/a#b" })).toBe(400);
  expect(await status({ ":path": "/caf\u00e9" })).toBe(400);
  expect(await status({ ":path": "/a%00" })).toBe(400);
  expect(await status({ ":path": `/${"a".repeat(9000)}` })).toBe(414);
  expect(await status({ ":method": "BREW" })).toBe(400);
  expect(await status({ ":scheme": "ftp" })).toBe(400);
  expect(await status({ ":method": "CONNECT", ":authority": "a.test:443" })).toBe(403);
  expect(await status({ "content-length": "+1" })).toBe("reset");
});

test("a head larger than a frame, and bodies in the smallest pieces, pass whole", async () => {
  await using origin = await TestServer.http((request, response) => {
    let length = 0;
    request
      .on("data", (piece: Buffer) => (length += piece.length))
      .on("end", () => {
        response.setHeader("x-large", "a~".repeat(20_000)).end(String(length));
      });
  });
  await using path = await dataPath(origin);
  await using client = new Http2Client(path.port);
  const answer = await client.ask({});
  expect(answer.headers["x-large"] === "a~".repeat(20_000)).toBe(true);
  using raw = new RawClient(path.port);
  const head = h2.frame(h2.HEADERS, h2.END_HEADERS, 1, h2.fields([":method", "POST"], ...h2.GET.slice(1)));
  const byte = h2.frame(h2.DATA, 0, 1, "x");
  const frames = [h2.PREFACE, h2.frame(h2.SETTINGS, 0, 0), head, ...Array.from({ length: 30_000 }, () => byte)];
  raw.send(Buffer.concat([...frames, h2.frame(h2.DATA, h2.END_STREAM, 1)]).toString("latin1"));
  const body = (text: string) =>
    h2
      .framesOf(text)
      .find(({ type }) => type === h2.DATA)
      ?.payload.toString();
  expect(body(await raw.until((text) => body(text) !== undefined))).toBe("30000");
});

test("server-sent events arrive one by one, before the response is over", async () => {
  let send: ((text: string) => void) | undefined;
  await using origin = await TestServer.http((_request, response) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.flushHeaders();
    send = (text) => void response.write(text);
  });
  await using path = await dataPath(origin);
  await using client = new Http2Client(path.port);
  const stream = client.session.request({});
  let seen = "";
  stream.on("data", (piece: Buffer) => (seen += piece.toString()));
  await until(() => send !== undefined);
  for (const event of ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"]) {
    const before = seen;
    send?.(event);
    await until(() => seen === before + event);
  }
  stream.close();
});

test("an origin that dies amid its response resets the stream, and only that", async () => {
  await using origin = await TestServer.raw((socket) => {
    socket.once("data", () => {
      // Chunked: a client has nothing but the reset to tell that it is not complete.
      const head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";
      socket.write(head, () => setTimeout(() => socket.destroy(), 20));
    });
  });
  await using path = await dataPath(origin);
  await using client = new Http2Client(path.port);
  const [one, two] = await Promise.all([client.ask({}), client.ask({})]);
  expect(one).toMatchObject({ status: 200, body: "abc", resetCode: 2 });
  expect(two).toMatchObject({ status: 200, resetCode: 2 });
  expect(path.stats.get("downstream_cx_total")).toBe(1);
});

test("a client that resets its stream ends the request at the origin", async () => {
  let gone = 0;
  await using origin = await TestServer.http((request) => void request.on("close", () => gone++));
  await using path = await dataPath(origin);
  await using client = new Http2Client(path.port);
  const stream = client.session.request({});
  await until(() => origin.accepted === 1);
  stream.close(8);
  await until(() => gone === 1 && path.records.length === 1);
  expect(path.records[0]).toMatchObject({ flags: ["DR"], details: "http2.remote_reset" });
});

test("a slow reader holds back the origin; a slow origin holds back the client", async () => {
  let written = 0;
  let reading = false;
  await using origin = await TestServer.http((request, response) => {
    if (request.method === "POST") {
      request.pause();
      setInterval(() => reading && request.resume(), 5).unref();
      request.on("end", () => response.end("done"));
      return;
    }
    const more = () => {
      while (written < 50_000_000) {
        written += 100_000;
        if (!response.write(Buffer.alloc(100_000))) return void response.once("drain", more);
      }
      response.end();
    };
    more();
  });
  await using path = await dataPath(origin);
  await using client = new Http2Client(path.port);
  const down = client.session.request({});
  down.on("response", () => down.pause());
  await until(() => written > 0);
  expect(await standstill(() => written)).toBeLessThan(20_000_000);
  let length = 0;
  down.on("data", (piece: Buffer) => (length += piece.length)).resume();
  await until(() => length === 50_000_000);

  const up = client.session.request({ ":method": "POST" });
  const body = Buffer.alloc(30_000_000);
  let sent = false;
  up.end(body, () => (sent = true));
  await pause(200);
  expect(sent).toBe(false);
  reading = true;
  await until(() => sent);
});

test("a drained connection lets its streams end and takes no new ones", async () => {
  let release: (() => void) | undefined;
  await using origin = await TestServer.http((_request, response) => {
    release = () => response.end("late");
  });
  const path = await dataPath(origin);
  await using client = new Http2Client(path.port);
  const answer = client.ask({});
  await until(() => release !== undefined);
  const goneAway: number[] = [];
  client.session.on("goaway", (code: number, last: number) => goneAway.push(code, last));
  const drained = path.listener.drain(60_000);
  await until(() => goneAway.length > 0);
  // It is only told yet: what it sends before it knows is served.
  expect(goneAway.slice(0, 2)).toEqual([0, 2 ** 31 - 1]);
  release?.();
  expect((await answer).body).toBe("late");
  await drained;
  expect(client.session.closed).toBe(true);
});

test("times and counts: idle connection, idle stream, whole request, requests on a connection", async () => {
  await using origin = await TestServer.http((request, response) => {
    if (request.url === "/now") response.end("now");
  });
  await using idle = await dataPath(origin, { connectionIdleTimeoutMs: 60 });
  const quiet = new Http2Client(idle.port);
  await until(() => quiet.session.closed);
  expect(idle.stats.get("downstream_cx_idle_timeout")).toBe(1);

  await using hasty = await dataPath(origin, { streamIdleTimeoutMs: 80 });
  await using waiting = new Http2Client(hasty.port);
  expect(await waiting.ask({ ":path": "/never" })).toMatchObject({ status: 504, body: "stream timeout" });
  expect(waiting.session.closed).toBe(false);

  await using path = await dataPath(origin, { maxRequestsPerConnection: 2 });
  await using client = new Http2Client(path.port);
  expect((await client.ask({ ":path": "/now" })).body).toBe("now");
  expect((await client.ask({ ":path": "/now" })).body).toBe("now");
  await until(() => client.session.closed);

  await using slow = await dataPath(origin, { requestTimeoutMs: 60 });
  await using sender = new Http2Client(slow.port);
  const stream = sender.session.request({ ":method": "POST" });
  let status: unknown;
  stream.on("response", (headers) => (status = headers[":status"])).write("a");
  stream.on("error", () => {});
  await until(() => status !== undefined);
  expect(status).toBe(408);
});

test("a client that answers no keepalive PING is cut off; one that does stays", async () => {
  const http2 = { ...edgeDefaults, keepaliveIntervalMs: 20, keepaliveTimeoutMs: 1_000 };
  await using path = await DataPath.start({ route: null, http: { http2 } });
  using dead = new RawClient(path.port);
  dead.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
  await using client = new Http2Client(path.port);
  let pings = 0;
  client.session.on("ping", () => pings++);
  await dead.end();
  await until(() => pings > 4);
  expect((await client.ask({})).status).toBe(404);
});

test("HTTP/1 and HTTP/2 share a listener, whatever the first segments hold", async () => {
  await using origin = await echo();
  await using path = await dataPath(origin);
  using one = new RawClient(path.port);
  one.send("P");
  // Most likely it is read by itself then; if not, this tests less.
  await pause(20);
  one.send("ROPFIND / HTTP/1.1\r\nHost: a\r\n\r\n");
  expect(await one.until((text) => text.includes("}"))).toMatch(/^HTTP\/1.1 200 /);
  // The preface in two segments.
  using two = new RawClient(path.port);
  two.send("PRI * HT");
  await pause(20);
  two.send("TP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
  await two.until((text) => text.length >= 9 + 6);
  expect(two.received.charCodeAt(3)).toBe(4);
  await using only = await dataPath(origin, { codec: "http1" });
  using refused = new RawClient(only.port);
  expect(await refused.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").end()).toMatch(/^HTTP\/1.1 400 /);
});

test("a client that only opens and resets streams is cut off; others are not", async () => {
  await using origin = await TestServer.http(() => {});
  await using path = await dataPath(origin);
  const session = connect(`http://127.0.0.1:${path.port}`);
  session.on("error", () => {});
  let code = -1;
  session.on("goaway", (reason: number) => (code = reason));
  await new Promise((resolve) => session.once("remoteSettings", resolve));
  for (let i = 0; i < 2_000 && !session.destroyed && !session.closed; i++) {
    const stream = session.request({});
    stream.on("error", () => {});
    stream.close(8);
    if (i % 50 === 0) await pause(1);
  }
  await until(() => session.destroyed || session.closed);
  expect(code).toBe(11);
  await until(() => path.stats.get("downstream_rq_active") === 0);
  session.destroy();
});
