/** Connections of clients, over real sockets: order, framing, times, and ends of every kind. */
import { expect, test } from "vitest";

import { clusterOf, DataPath, type DataPathOptions, endpointAt, TestServer } from "../../test/support/data-path.ts";
import { exchange, RawClient } from "../../test/support/raw-client.ts";
import { standstill, until } from "../../test/support/wait.ts";

const HOST = "Host: h\r\n";
const get = (path: string, fields = "") => `GET ${path} HTTP/1.1\r\n${HOST}${fields}\r\n`;
const CLOSE = "Connection: close\r\n";

/** A data path to an origin that sends back what it got. */
async function echoing(changes: DataPathOptions = {}) {
  const stack = new AsyncDisposableStack();
  const origin = stack.use(
    await TestServer.http((request, response) => {
      const pieces: Buffer[] = [];
      request
        .on("data", (piece: Buffer) => pieces.push(piece))
        .on("end", () =>
          response.end(`${request.method} ${request.url} [${Buffer.concat(pieces).toString("latin1")}]`),
        );
    }),
  );
  const path = stack.use(await DataPath.start({ cluster: clusterOf([endpointAt(origin.port)]), ...changes }));
  return { origin, path, port: path.port, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

/** A data path to an origin that gets each connection by hand. */
async function scripted(
  onHead: (text: string, answer: (text: string) => void, end: () => void) => void,
  changes: DataPathOptions = {},
) {
  const stack = new AsyncDisposableStack();
  const origin = stack.use(
    await TestServer.raw((socket) => {
      let text = "";
      socket.on("data", (bytes) => {
        text += bytes.toString("latin1");
        if (!text.includes("\r\n\r\n")) return;
        const head = text;
        text = "";
        onHead(
          head,
          (answer) => socket.write(answer, "latin1"),
          () => socket.end(),
        );
      });
    }),
  );
  const path = stack.use(await DataPath.start({ cluster: clusterOf([endpointAt(origin.port)]), ...changes }));
  return { origin, path, port: path.port, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

const countOf = (text: string, part: string) => text.split(part).length - 1;

test("requests on one connection share one upstream connection", async () => {
  await using it = await echoing();
  using client = new RawClient(it.port);
  for (let i = 1; i <= 5; i++) {
    client.send(get(`/${i}`));
    await client.until((text) => text.includes(`GET /${i} []`));
  }
  expect(it.origin.accepted).toBe(1);
  expect(it.path.stats.get("upstream_cx_total")).toBe(1);
  expect(it.path.records.map((record) => record.originalPath)).toEqual(["/1", "/2", "/3", "/4", "/5"]);
});

test("pipelined requests are answered in order, also when they come byte by byte", async () => {
  await using it = await echoing();
  const requests = `${get("/1")}POST /2 HTTP/1.1\r\n${HOST}Content-Length: 2\r\n\r\nab${get("/3", CLOSE)}`;
  const order = /GET \/1 \[\][^]*POST \/2 \[ab\][^]*GET \/3 \[\]$/;
  expect(await exchange(it.port, requests)).toMatch(order);

  using client = new RawClient(it.port);
  for (const char of requests) {
    client.send(char);
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(await client.end()).toMatch(order);
});

test("a thousand pipelined requests that we answer ourselves don't exhaust the stack", async () => {
  await using it = await echoing({ route: { kind: "direct", status: 200, body: Buffer.from("hi") } });
  const text = await exchange(it.port, `${get("/").repeat(5_000)}${get("/", CLOSE)}`);
  expect(countOf(text, "HTTP/1.1 200 OK")).toBe(5_001);
});

test("100 Continue comes behind the response to the request before", async () => {
  await using it = await echoing({ route: { kind: "direct", status: 200, body: Buffer.from("hi\n") } });
  const upload = `POST / HTTP/1.1\r\n${HOST}${CLOSE}Expect: 100-continue\r\nContent-Length: 2\r\n\r\nab`;
  const text = await exchange(it.port, get("/") + upload);
  expect(text.match(/^HTTP.*$/gm)).toEqual(["HTTP/1.1 200 OK", "HTTP/1.1 100 Continue", "HTTP/1.1 200 OK"]);
});

test("a chunked request reaches the origin as it was, whatever its chunks", async () => {
  await using it = await echoing();
  const text = await exchange(
    it.port,
    `POST / HTTP/1.1\r\n${HOST}${CLOSE}Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n5;x="y"\r\nbcdef\r\n0\r\nT: u\r\n\r\n`,
  );
  expect(text).toContain("POST / [abcdef]");
  expect(it.path.records[0]).toMatchObject({ status: 200, bytesReceived: 6, flags: [] });
});

test("a chunked response is framed anew, one until close gets chunks", async () => {
  await using it = await scripted((head, answer, end) => {
    if (head.startsWith("GET /chunks")) {
      answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nTrailer: 1\r\n\r\n");
    } else {
      answer("HTTP/1.1 200 OK\r\n\r\nabc");
      end();
    }
  });
  const framed =
    /transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n$|transfer-encoding: chunked\r\nconnection: close\r\n\r\n3\r\nabc\r\n0\r\n\r\n$/;
  expect(await exchange(it.port, get("/chunks", CLOSE))).toMatch(framed);
  expect(await exchange(it.port, get("/close", CLOSE))).toMatch(framed);
});

test("responses to HEAD, 204 and 304 have no body, and the connection goes on", async () => {
  await using it = await scripted((head, answer) => {
    if (head.startsWith("HEAD")) answer("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
    else if (head.startsWith("GET /204")) answer("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n");
    else answer("HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n");
  });
  const text = await exchange(it.port, `HEAD / HTTP/1.1\r\n${HOST}\r\n${get("/204")}${get("/304", CLOSE)}`);
  expect(text.split("\r\n\r\n")).toEqual([
    expect.stringMatching(/^HTTP\/1.1 200 OK\r\n[^]*content-length: 1000/),
    expect.not.stringContaining("content-length"),
    expect.stringMatching(/^HTTP\/1.1 304 Not Modified\r\n[^]*content-length: 7/),
    "",
  ]);
  expect(it.origin.accepted).toBe(1);
});

test("100-continue is answered at once, the origin doesn't see it", async () => {
  await using it = await scripted((head, answer) => {
    answer(
      `HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: ${head.length}\r\n\r\n${head}`,
    );
  });
  using client = new RawClient(it.port);
  client.send(`POST / HTTP/1.1\r\n${HOST}Expect: 100-continue\r\nContent-Length: 3\r\n\r\n`);
  await client.until((text) => text.startsWith("HTTP/1.1 100 Continue\r\n\r\n"));
  client.send("abc");
  const text = await client.until((received) => received.includes("200 OK"));
  expect(text).not.toMatch(/^expect:/im);
  expect(text).toContain("HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n");
});

test("HTTP/1.0, where accepted, gets length or the end of the connection", async () => {
  await using it = await scripted(
    (_, answer) => answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
    { http: { acceptHttp10: true } },
  );
  const text = await exchange(it.port, `GET / HTTP/1.0\r\n${HOST}Connection: keep-alive\r\n\r\n`);
  expect(text).toMatch(/^HTTP\/1.1 200 OK\r\n[^]*connection: close\r\n\r\nabc$/);
});

test("a response that comes before the request is complete is passed on, then the connection closes", async () => {
  await using it = await scripted((_, answer) =>
    answer("HTTP/1.1 413 Payload Too Large\r\nContent-Length: 3\r\n\r\nbig"),
  );
  const text = await exchange(it.port, `POST / HTTP/1.1\r\n${HOST}Content-Length: 1000000\r\n\r\nabc`);
  expect(text).toMatch(/^HTTP\/1.1 413 Payload Too Large\r\n[^]*connection: close\r\n\r\nbig$/);
  await until(() => it.path.stats.get("upstream_cx_active") === 0);
});

test("a client that goes away is noted as DC, and its upstream request given up", async () => {
  await using it = await scripted((_, answer) => answer("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"));
  {
    using client = new RawClient(it.port);
    client.send(get("/"));
    await client.until((text) => text.endsWith("abc"));
    client.socket.resetAndDestroy();
  }
  await until(() => it.path.records.length === 1 && it.origin.sockets.size === 0);
  expect(it.path.records[0]).toMatchObject({ status: 200, flags: ["DC"], details: "downstream_remote_disconnect" });
});

test("a client that goes away is noticed although it has sent further requests", async () => {
  const heads: string[] = [];
  await using it = await scripted((head) => heads.push(head));
  {
    using client = new RawClient(it.port);
    client.send(get("/first"));
    await until(() => heads.length === 1);
    const received = () => it.path.stats.get("downstream_cx_rx_bytes_total") ?? 0;
    const before = received();
    // Two reads, so that the second finds the first one held.
    client.send(get("/second"));
    await until(() => received() > before);
    client.send(get("/third"));
  }
  await until(() => it.path.records.length === 1 && it.origin.sockets.size === 0);
  expect(it.path.records[0]).toMatchObject({ originalPath: "/first", flags: ["DC"] });
  expect(heads.length).toBe(1);
});

test("a client that goes away amid its body is noted as DC", async () => {
  await using it = await echoing();
  {
    using client = new RawClient(it.port);
    client.send(`POST / HTTP/1.1\r\n${HOST}Content-Length: 10\r\n\r\nabc`);
    await until(() => it.origin.sockets.size === 1);
  }
  await until(() => it.path.records.length === 1 && it.origin.sockets.size === 0);
  expect(it.path.records[0]).toMatchObject({ status: 0, flags: ["DC"], bytesReceived: 3 });
});

test("a client that ends its half still gets its response; one that is gone is noticed", async () => {
  await using it = await scripted((head, answer) => {
    if (head.startsWith("GET /answer")) answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  });
  using client = new RawClient(it.port);
  client.send(get("/answer"));
  client.socket.end();
  expect(await client.end()).toMatch(/ok$/);

  using gone = new RawClient(it.port);
  gone.send(get("/never"));
  gone.socket.end();
  await until(() => it.path.records.some((record) => record.flags.includes("DC")));
});

test("a slow reader holds back the origin", async () => {
  const total = 50 * 1024 * 1024;
  const piece = Buffer.alloc(65_536, "x");
  let sent = 0;
  await using origin = await TestServer.http((_, response) => {
    response.setHeader("content-length", total);
    const more = () => {
      while (sent < total) {
        sent += piece.length;
        if (!response.write(piece)) return void response.once("drain", more);
      }
      response.end();
    };
    more();
  });
  await using path = await DataPath.start({ cluster: clusterOf([endpointAt(origin.port)]) });
  using client = new RawClient(path.port);
  client.socket.pause();
  client.send(get("/", CLOSE));
  // What kernels and bounded buffers hold between the two is a few MB.
  expect(await standstill(() => sent)).toBeLessThan(total / 2);
  let received = 0;
  client.socket.removeAllListeners("data").on("data", (bytes) => (received += bytes.length));
  client.socket.resume();
  await client.end();
  expect(received).toBeGreaterThan(total);
  expect(path.records[0]).toMatchObject({ bytesSent: total, flags: [] });
});

test("a slow origin holds back the client", async () => {
  await using origin = await TestServer.raw((socket) => socket.pause());
  await using path = await DataPath.start({ cluster: clusterOf([endpointAt(origin.port)]) });
  using client = new RawClient(path.port);
  const total = 50 * 1024 * 1024;
  client.send(`POST / HTTP/1.1\r\n${HOST}Content-Length: ${total}\r\n\r\n`);
  client.socket.write(Buffer.alloc(total));
  await standstill(() => client.socket.bytesWritten - client.socket.writableLength);
  expect(path.stats.get("downstream_cx_rx_bytes_total")).toBeLessThan(total / 2);
});

test("times: headers, whole request, idle stream, idle connection", async () => {
  await using it = await scripted(() => {}, {
    http: {
      requestHeadersTimeoutMs: 100,
      requestTimeoutMs: 200,
      streamIdleTimeoutMs: 300,
      connectionIdleTimeoutMs: 400,
    },
  });
  const [head, body, response, idle] = await Promise.all([
    exchange(it.port, `GET / HTTP/1.1\r\n${HOST}`),
    exchange(it.port, `POST / HTTP/1.1\r\n${HOST}Content-Length: 3\r\n\r\na`),
    (async () => {
      using client = new RawClient(it.port);
      return await client.send(get("/")).until((text) => text.includes("stream timeout"));
    })(),
    exchange(it.port, ""),
  ]);
  expect(head).toMatch(/^HTTP\/1.1 408 [^]*connection: close[^]*request header timeout$/);
  expect(body).toMatch(/^HTTP\/1.1 408 [^]*connection: close[^]*request timeout$/);
  expect(response).toMatch(/^HTTP\/1.1 504 /);
  expect(idle).toBe("");
  // Which of them ends first is a matter of when each connection came.
  expect(it.path.records.map(({ details, flags }) => [details, ...flags].join(" ")).sort()).toEqual([
    "request_header_timeout",
    "request_overall_timeout",
    "stream_idle_timeout SI",
  ]);
});

test("draining closes idle connections and lets requests end", async () => {
  let answer: (text: string) => void = () => {};
  await using it = await scripted((_, reply) => (answer = reply));
  using idle = new RawClient(it.port);
  using busy = new RawClient(it.port);
  busy.send(get("/"));
  await until(() => it.origin.accepted === 1 && it.path.stats.get("downstream_cx_active") === 2);
  const drained = it.path.listener.drain(60_000);
  expect(await idle.end()).toBe("");
  answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  expect(await busy.end()).toMatch(/connection: close\r\n\r\nok$/);
  busy.socket.end();
  idle.socket.end();
  await drained;
});

test("a client that connected just before its connection drains, and asks only later, gets an answer", async () => {
  await using it = await echoing();
  // Both have been idle for as long by then; only one of them has asked before.
  using fresh = new RawClient(it.port);
  using kept = new RawClient(it.port);
  await kept.send(get("/1")).until((text) => text.includes("GET /1"));
  const drained = it.path.listener.drain(10_000);
  expect(await kept.end()).not.toContain("connection: close");
  expect(await fresh.send(get("/2")).end()).toMatch(/connection: close\r\n\r\nGET \/2/);
  await drained;
});

test("of a filter chain that changes the connections end after one more request, and new ones have the new options", async () => {
  await using it = await echoing();
  using client = new RawClient(it.port);
  await client.send(get("/1")).until((text) => text.includes("server: sluice"));
  it.path.listener.update(it.path.options({ serverName: "other" }), 60_000);
  const rest = await client.send(get("/2")).end();
  expect(rest).toMatch(/server: sluice[^]*server: sluice[^]*connection: close/);
  using other = new RawClient(it.port);
  await other.send(get("/3")).until((text) => text.includes("server: other"));
});

test("a connection closes after as many requests as it may serve", async () => {
  await using it = await echoing({ http: { maxRequestsPerConnection: 2 } });
  const text = await exchange(it.port, get("/1") + get("/2") + get("/3"));
  expect(countOf(text, "HTTP/1.1 200")).toBe(2);
  expect(text).toMatch(/connection: close\r\n\r\nGET \/2 \[\]$/);
});
