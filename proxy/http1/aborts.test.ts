/** Either side goes away, in each phase of a request, by FIN or by reset: the other is told, nothing leaks, and no answer goes astray. */
import { expect, test } from "vitest";

import { clusterOf, DataPath, endpointAt, TestServer } from "../../test/support/data-path.ts";
import { RawClient } from "../../test/support/raw-client.ts";
import { until } from "../../test/support/wait.ts";

const leaving = ["end", "reset"] as const;

/** Ends a client's connection by FIN and close, or by reset. */
function leave(client: RawClient, how: (typeof leaving)[number]): void {
  if (how === "reset") client.socket.resetAndDestroy();
  else client.socket.destroySoon();
}

/** An origin that answers `GET /NAME` by NAME; /slow never, /half by half of what it announces, /drip by endless pieces. */
function namingOrigin(): Promise<TestServer> {
  return TestServer.http((request, response) => {
    request.on("error", () => {});
    const name = request.url?.slice(1) ?? "";
    if (name === "slow") return;
    if (name === "half") return void response.writeHead(200, { "content-length": "10" }).write("abcde");
    if (name === "drip") {
      const drip = setInterval(() => response.write("x"), 5);
      return void response.on("close", () => clearInterval(drip));
    }
    request.resume().on("end", () => response.end(name));
  });
}

const start = (port: number) => DataPath.start({ cluster: clusterOf([endpointAt(port)]) });

/** Everything that counts what is under way is back to nothing. */
const atRest = (path: DataPath): Promise<void> =>
  until(
    () =>
      path.stats.get("downstream_cx_active") === 0 &&
      path.stats.get("downstream_rq_active") === 0 &&
      path.stats.get("upstream_rq_active") === 0,
  );

/** Asks one after the other on one connection, which makes mixed up answers show. */
async function inStep(path: DataPath): Promise<void> {
  using client = new RawClient(path.port);
  for (const name of ["one", "two", "three"]) {
    client.received = "";
    const answer = await client
      .send(`GET /${name} HTTP/1.1\r\nHost: h\r\n\r\n`)
      .until((text) => /\r\n\r\n.+/s.test(text));
    expect(answer.endsWith(`\r\n\r\n${name}`), answer).toBe(true);
  }
}

const phases: [phase: string, bytes: string, ready: (client: RawClient, path: DataPath) => Promise<unknown>][] = [
  ["before a byte", "", async (_, path) => await until(() => path.stats.get("downstream_cx_active") === 1)],
  [
    "amid the request line",
    "GET /a HT",
    async (_, path) => await until(() => path.stats.get("downstream_cx_rx_bytes_total") > 0),
  ],
  [
    "amid the head",
    "GET /a HTTP/1.1\r\nHost: h\r\nA: ",
    async (_, path) => await until(() => path.stats.get("downstream_cx_rx_bytes_total") > 0),
  ],
  [
    "amid a body",
    "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc",
    async (_, path) => await until(() => path.stats.get("upstream_rq_active") === 1),
  ],
  [
    "amid a chunk",
    "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc",
    async (_, path) => await until(() => path.stats.get("upstream_rq_active") === 1),
  ],
  [
    "before the last chunk",
    "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    async (_, path) => await until(() => path.stats.get("upstream_rq_active") === 1),
  ],
  [
    "before the answer",
    "GET /slow HTTP/1.1\r\nHost: h\r\n\r\n",
    async (_, path) => await until(() => path.stats.get("upstream_rq_active") === 1),
  ],
  [
    "before the answer, with more behind",
    "GET /slow HTTP/1.1\r\nHost: h\r\n\r\nGET /a HTTP/1.1\r\nHost: h\r\n\r\n",
    async (_, path) => await until(() => path.stats.get("upstream_rq_active") === 1),
  ],
  [
    "amid the answer",
    "GET /half HTTP/1.1\r\nHost: h\r\n\r\n",
    async (client) => await client.until((text) => text.endsWith("abcde")),
  ],
  [
    "amid chunks of the answer",
    "GET /drip HTTP/1.1\r\nHost: h\r\n\r\n",
    async (client) => await client.until((text) => text.endsWith("x\r\n")),
  ],
  [
    "after an answer",
    "GET /a HTTP/1.1\r\nHost: h\r\n\r\n",
    async (client) => await client.until((text) => text.endsWith("a")),
  ],
];

test.each(phases.flatMap((phase) => leaving.map((how) => [how, ...phase] as const)))(
  "a client leaves (%s) %s",
  async (how, _phase, bytes, ready) => {
    await using origin = await namingOrigin();
    await using path = await start(origin.port);
    // First some that were answered, so that a kept connection to the origin is there to be spoilt.
    await inStep(path);
    await atRest(path);
    using client = new RawClient(path.port);
    client.send(bytes);
    await ready(client, path);
    leave(client, how);
    await atRest(path);
    await inStep(path);
    await until(() => origin.sockets.size <= 1 && path.stats.get("upstream_cx_active") === origin.sockets.size);
  },
);

const OK = "HTTP/1.1 200 OK\r\n";

/** What an origin sends for its first request before it goes away, and what the client then gets. */
const origins: [phase: string, sends: string, answer: RegExp][] = [
  ["before a byte", "", /^HTTP\/1\.1 503 /],
  ["amid the status line", "HTTP/1.1 20", /^HTTP\/1\.1 50[23] /],
  ["amid the head", `${OK}Content-Le`, /^HTTP\/1\.1 50[23] /],
  ["after a 1xx", "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n", /^HTTP\/1\.1 103 [^]*\r\n\r\nHTTP\/1\.1 50[23] /],
  ["after the head", `${OK}Content-Length: 5\r\n\r\n`, /^HTTP\/1\.1 200 [^]*content-length: 5\r\n[^]*\r\n\r\n$/i],
  ["amid the body", `${OK}Content-Length: 5\r\n\r\nabc`, /^HTTP\/1\.1 200 [^]*\r\n\r\nabc$/],
  ["amid a chunk", `${OK}Transfer-Encoding: chunked\r\n\r\n5\r\nabc`, /^HTTP\/1\.1 200 (?![^]*\r\n0\r\n\r\n$)/],
  [
    "before the last chunk",
    `${OK}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n`,
    /^HTTP\/1\.1 200 (?![^]*\r\n0\r\n\r\n$)/,
  ],
  [
    "amid the last chunk",
    `${OK}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n`,
    /^HTTP\/1\.1 200 (?![^]*\r\n0\r\n\r\n$)/,
  ],
];

test.each(origins.flatMap((phase) => leaving.map((how) => [how, ...phase] as const)))(
  "an origin leaves (%s) %s",
  async (how, _phase, sends, answer) => {
    await using origin = await TestServer.raw((socket) => {
      socket.on("data", (bytes) => {
        if (!bytes.toString("latin1").startsWith("GET /leave "))
          return void socket.write(`${OK}Content-Length: 2\r\n\r\nok`);
        socket.write(sends, "latin1", () => {
          if (how === "reset") socket.resetAndDestroy();
          else socket.end();
        });
      });
    });
    await using path = await start(origin.port);
    const ask = async (name: string) => {
      using client = new RawClient(path.port);
      return await client.send(`GET /${name} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n`).end();
    };
    // On a fresh connection, as on one that has served before, whose death the client of an idempotent request needn't see.
    expect(await ask("leave")).toMatch(answer);
    expect(await ask("a")).toMatch(/^HTTP\/1\.1 200 [^]*ok$/);
    expect(await ask("leave")).toMatch(answer);
    expect(await ask("b")).toMatch(/^HTTP\/1\.1 200 [^]*ok$/);
    await atRest(path);
    await until(() => origin.sockets.size <= 1);
  },
);

test("a body without length that ends by reset is no whole body", async () => {
  await using origin = await TestServer.raw((socket) =>
    socket.once("data", () => socket.write(`${OK}\r\nabc`, () => setTimeout(() => socket.resetAndDestroy(), 20))),
  );
  await using path = await start(origin.port);
  using client = new RawClient(path.port);
  const answer = await client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").end();
  expect(answer).toMatch(/\r\n3\r\nabc\r\n$/);
});

test("a client that ends its half behind its last request gets all its answers", async () => {
  await using origin = await namingOrigin();
  await using path = await start(origin.port);
  using client = new RawClient(path.port);
  const names = ["a", "b", "c", "d"];
  client.socket.end(names.map((name) => `GET /${name} HTTP/1.1\r\nHost: h\r\n\r\n`).join(""));
  const answers = await client.end();
  expect(answers.match(/\r\n\r\n[a-d]/g)?.map((end) => end.at(-1))).toEqual(names);
  await atRest(path);
});

test("a client that ends its half amid a request behind others gets the others' answers, and the origin never sees it", async () => {
  const seen: string[] = [];
  await using origin = await TestServer.http((request, response) => {
    request.on("error", () => {});
    seen.push(request.url ?? "");
    setTimeout(() => response.end("a"), 20);
  });
  await using path = await start(origin.port);
  using client = new RawClient(path.port);
  client.socket.end("GET /a HTTP/1.1\r\nHost: h\r\n\r\nGET /b HTTP/1.1\r\nHo");
  expect(await client.end()).toMatch(/^HTTP\/1\.1 200 [^]*\r\n\r\na$/);
  await atRest(path);
  expect(seen).toEqual(["/a"]);
});

test("an origin that answers before it has the body: the client gets the answer, and the rest reaches nobody", async () => {
  const requests: string[] = [];
  await using origin = await TestServer.raw((socket) => {
    socket.on("data", (bytes) => {
      const text = bytes.toString("latin1");
      requests.push(...(text.match(/^(GET|POST) \S+/gm) ?? []));
      if (/^(GET|POST) /.test(text)) socket.write(`${OK}Content-Length: 4\r\n\r\ndone`);
    });
  });
  await using path = await start(origin.port);
  using client = new RawClient(path.port);
  client.send("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nabc");
  await client.until((text) => text.endsWith("done"));
  client.send(`${"x".repeat(97)}GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n`);
  const answer = await client.end();
  expect(answer).toMatch(/^HTTP\/1\.1 200 [^]*connection: close\r\n/);
  expect(answer.match(/HTTP\/1\.1 /g)).toHaveLength(1);
  await inStepWithOk(path);
  expect(requests.filter((request) => request.includes("smuggled"))).toEqual([]);
});

async function inStepWithOk(path: DataPath): Promise<void> {
  using client = new RawClient(path.port);
  const answer = await client.send("GET /b HTTP/1.1\r\nHost: h\r\n\r\n").until((text) => text.endsWith("done"));
  expect(answer).toMatch(/^HTTP\/1\.1 200 /);
}
