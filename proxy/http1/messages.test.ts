/** Messages at their edges, over raw sockets: every byte boundary, versions, bodiless answers, 1xx, expectations, pipelines and back-pressure. */
import { createServer } from "node:http";
import type { Socket } from "node:net";

import { expect, test } from "vitest";

import { clusterOf, DataPath, type DataPathOptions, endpointAt, TestServer } from "../../test/support/data-path.ts";
import { exchange, RawClient } from "../../test/support/raw-client.ts";
import { standstill, until } from "../../test/support/wait.ts";

const via = (port: number, changes: DataPathOptions = {}) =>
  DataPath.start({ cluster: clusterOf([endpointAt(port)]), ...changes });

/** An origin that answers each request, whose end is its empty line, with these bytes, in pieces of `size`. */
const answering = (answer: string, size = answer.length) =>
  TestServer.raw((socket) => {
    let input = "";
    socket.on("data", (bytes) => {
      input += bytes.toString("latin1");
      for (let end = input.indexOf("\r\n\r\n"); end >= 0; end = input.indexOf("\r\n\r\n")) {
        input = input.slice(end + 4);
        writePieces(socket, answer, size);
      }
    });
  });

function writePieces(socket: Socket, text: string, size: number): void {
  if (text === "" || socket.destroyed) return;
  socket.write(text.slice(0, size), "latin1", () => setImmediate(() => writePieces(socket, text.slice(size), size)));
}

/** Without what differs from one answer to the next. */
const steady = (answer: string): string => answer.replaceAll(/^(date|x-envoy-upstream-service-time): .*\r\n/gim, "");

const GET = "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

const answers: [title: string, answer: string][] = [
  ["a length", "HTTP/1.1 200 OK\r\nContent-Length: 11\r\nX-A: b\r\n\r\nhello world"],
  [
    "chunks",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n06\r\n world\r\n0\r\nX-T: 1\r\n\r\n",
  ],
  [
    "interim ones",
    "HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\nHTTP/1.1 102 X\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
  ],
  ["no reason", "HTTP/1.1 404\r\nContent-Length: 2\r\n\r\nno"],
];

test.each(answers)("a response with %s is the same wherever its bytes are cut", async (_title, answer) => {
  await using whole = await answering(answer);
  await using first = await via(whole.port);
  // How the body is cut into chunks is no part of it.
  const body = (text: string) => text.replaceAll(/(?<=chunked\r\n[^]*)\r\n[0-9a-f]+\r\n/g, "").replaceAll("\r\n", "");
  const expected = body(steady(await exchange(first.port, GET)));
  expect(expected).toContain("HTTP/1.1 ");
  for (const size of [1, 2, 3, 7]) {
    await using origin = await answering(answer, size);
    await using path = await via(origin.port);
    expect(body(steady(await exchange(path.port, GET)))).toBe(expected);
  }
});

test("a request is the same wherever it is cut in two", async () => {
  const seen: string[] = [];
  await using origin = await TestServer.http((request, response) => {
    let body = "";
    request.on("data", (bytes: Buffer) => (body += bytes.toString()));
    request.on("end", () => {
      seen.push(`${request.method} ${request.url} ${String(request.headers["x-a"])} ${body}`);
      response.end("ok");
    });
  });
  await using path = await via(origin.port);
  const bytes =
    "POST /a?b HTTP/1.1\r\nHost: h\r\nX-A: b c \r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n1\r\nd\r\n0\r\nX-T: 1\r\n\r\n";
  for (let cut = 1; cut < bytes.length; cut++) {
    using client = new RawClient(path.port);
    client.send(bytes.slice(0, cut));
    await new Promise((resolve) => setImmediate(resolve));
    await client.send(bytes.slice(cut)).until((text) => text.endsWith("0\r\n\r\n") || text.endsWith("ok"));
  }
  expect(seen).toHaveLength(bytes.length - 1);
  expect([...new Set(seen)]).toEqual(["POST /a?b b c abcd"]);
});

test("a large head arrives whole, cut where it may", async () => {
  const seen: number[] = [];
  await using origin = await TestServer.listen(
    createServer({ maxHeaderSize: 128 * 1024 }, (request, response) => {
      seen.push(String(request.headers["x-a"]).length);
      response.end("ok");
    }),
  );
  await using path = await via(origin.port);
  const bytes = `GET / HTTP/1.1\r\nHost: h\r\nX-A: ${"x".repeat(55_000)}\r\n\r\n`;
  for (const cut of [1, 30, 1_460, 16_384, 50_000, bytes.length - 3, bytes.length - 2, bytes.length - 1]) {
    using client = new RawClient(path.port);
    client.send(bytes.slice(0, cut));
    await new Promise((resolve) => setImmediate(resolve));
    await client.send(bytes.slice(cut)).until((text) => text.endsWith("ok"));
  }
  expect([...new Set(seen)]).toEqual([55_000]);
});

test.each([
  ["HEAD with a length", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", /content-length: 5\r\n/i],
  [
    "HEAD with chunks",
    "HEAD",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    /transfer-encoding: chunked\r\n/,
  ],
  ["204", "GET", "HTTP/1.1 204 No Content\r\n\r\n", /^HTTP\/1\.1 204 (?![^]*(content-length|transfer-encoding))/i],
  ["304 with a length", "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", /content-length: 5\r\n/i],
  ["205", "GET", "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n", /content-length: 0\r\n/i],
])("%s has no body, and two answers on a connection stay apart", async (_title, method, answer, expected) => {
  await using origin = await answering(answer);
  await using path = await via(origin.port);
  using client = new RawClient(path.port);
  const ask = `${method} / HTTP/1.1\r\nHost: h\r\n\r\n`;
  const text = await client.send(ask + ask).until((all) => all.split("\r\n\r\n").length === 3);
  const [one, two, rest] = text.split("\r\n\r\n");
  expect(`${one}\r\n`).toMatch(expected);
  expect(steady(`${two}\r\n`)).toBe(steady(`${one}\r\n`));
  expect(rest).toBe("");
  expect(origin.accepted).toBe(1);
});

test("1xx answers go on in order, and not to HTTP/1.0", async () => {
  const answer =
    "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
  await using origin = await answering(answer);
  await using path = await via(origin.port, { http: { acceptHttp10: true } });
  const statuses = (text: string) => [...text.matchAll(/HTTP\/1\.[01] (\d{3})/g)].map(([, status]) => status);
  expect(statuses(await exchange(path.port, GET))).toEqual(["102", "103", "200"]);
  expect(statuses(await exchange(path.port, "GET / HTTP/1.0\r\nHost: h\r\n\r\n"))).toEqual(["200"]);
});

test("a 1xx answer that says that it has no content doesn't say so to the client, as it has no length at all", async () => {
  await using origin = await answering(
    "HTTP/1.1 103 Early Hints\r\nContent-Length: 0\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
  );
  await using path = await via(origin.port);
  const [early, last] = (await exchange(path.port, GET)).split(/(?=HTTP)/);
  expect(early).toBe("HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n");
  expect(last).toMatch(/^HTTP\/1\.1 200 OK\r\ncontent-length: 2\r\n/);
});

test("a client that expects 100 and doesn't wait is read all the same; one that gets 4xx is not asked for its body", async () => {
  await using origin = await TestServer.http((request, response) =>
    request.resume().on("end", () => response.end("ok")),
  );
  await using path = await via(origin.port);
  const head = "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nConnection: close\r\nContent-Length: 3\r\n\r\n";
  expect(await exchange(path.port, `${head}abc`)).toMatch(/^(HTTP\/1\.1 100 Continue\r\n\r\n)?HTTP\/1\.1 200 [^]*ok$/);
  await using none = await via(1, { route: null });
  using client = new RawClient(none.port);
  await client.send(head).until((text) => text.includes("HTTP/1.1 404 "));
});

test("HTTP/1.0: kept where both agree, else closed, and a body without length ends with the connection", async () => {
  await using origin = await answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n");
  await using path = await via(origin.port, { http: { acceptHttp10: true } });
  const answer = await exchange(
    path.port,
    "GET / HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\nHost: h\r\n\r\n",
  );
  expect(answer).not.toContain("transfer-encoding");
  expect(answer.match(/HTTP\/1\.[01] 200/g)).toHaveLength(1);
  expect(answer.endsWith("\r\n\r\nok")).toBe(true);
  await using sized = await answering("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok");
  await using kept = await via(sized.port, { http: { acceptHttp10: true } });
  const both = await exchange(
    kept.port,
    "GET / HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\nHost: h\r\n\r\n",
  );
  expect(both.match(/HTTP\/1\.[01] 200/g)).toHaveLength(2);
  expect(sized.accepted).toBe(1);
});

test("100 pipelined requests whose origin answers in any order are answered in theirs", async () => {
  await using origin = await TestServer.http((request, response) => {
    const number = Number(request.url?.slice(1));
    setTimeout(() => response.end(`<${number}>`), (number * 7) % 5);
  });
  await using path = await via(origin.port);
  const ask = (n: number) => `GET /${n} HTTP/1.1\r\nHost: h\r\n${n === 99 ? "Connection: close\r\n" : ""}\r\n`;
  const text = await exchange(path.port, Array.from({ length: 100 }, (_, n) => ask(n)).join(""));
  expect([...text.matchAll(/<(\d+)>/g)].map(([, n]) => Number(n))).toEqual(Array.from({ length: 100 }, (_, n) => n));
});

const MIB = 1 << 20;

test("a client that doesn't read 100 MB holds the origin back, in bounded memory, while others are served", async () => {
  let sent = 0;
  await using origin = await TestServer.http((request, response) => {
    if (request.url !== "/big") return void response.end("ok");
    const piece = Buffer.alloc(64 * 1024, "b");
    response.writeHead(200, { "content-length": 100 * MIB });
    const more = () => {
      while (sent < 100 * MIB) {
        sent += piece.length;
        if (!response.write(piece)) return void response.once("drain", more);
      }
    };
    more();
  });
  await using path = await via(origin.port);
  using client = new RawClient(path.port);
  client.socket.pause();
  client.send("GET /big HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  await until(() => sent > 0 && [...origin.sockets].some((socket) => socket.writableNeedDrain));
  for (let i = 0; i < 20; i++) expect(await exchange(path.port, GET)).toMatch(/ok$/);
  // What the kernel's buffers of two connections hold, and ours.
  expect(sent).toBeLessThan(32 * MIB);
  let got = 0;
  client.socket.removeAllListeners("data").on("data", (bytes) => (got += bytes.length));
  client.socket.resume();
  await until(() => got > 100 * MIB);
});

test("an origin that doesn't read holds the client back, and the request still arrives whole", async () => {
  let reader: Socket | undefined;
  await using origin = await TestServer.raw((socket) => {
    socket.pause();
    reader = socket;
  });
  await using path = await via(origin.port);
  using client = new RawClient(path.port);
  const piece = Buffer.alloc(MIB, "a");
  client.send(`POST / HTTP/1.1\r\nHost: h\r\nContent-Length: ${64 * MIB}\r\n\r\n`);
  for (let i = 0; i < 64; i++) client.socket.write(piece);
  await until(() => reader !== undefined);
  expect(await standstill(() => path.stats.get("downstream_cx_rx_bytes_total"))).toBeLessThan(16 * MIB);
  let got = 0;
  reader?.on("data", (bytes: Buffer) => {
    got += bytes.length;
    if (got > 64 * MIB) reader?.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  });
  reader?.resume();
  await client.until((text) => text.endsWith("ok"));
});
