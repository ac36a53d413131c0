/** Each answer belongs to its request: many connections at once, kept and pipelined, with some that break off in every way. */
import { expect, test } from "vitest";

import { clusterOf, DataPath, endpointAt, TestServer } from "../../test/support/data-path.ts";
import { RawClient } from "../../test/support/raw-client.ts";
import { until } from "../../test/support/wait.ts";

const CONNECTIONS = 200;
const ROUNDS = 5;

/** Sums up a request in its answer, after as many ms as it asks for, in as many pieces, by a length or by chunks. */
const originOf = () =>
  TestServer.http((request, response) => {
    const id = request.url?.slice(1) ?? "";
    const [wait, pieces, framing] = String(request.headers["x-how"]).split(",");
    let body = "";
    request.on("error", () => {});
    request.on("data", (bytes: Buffer) => (body += bytes.toString("latin1")));
    request.on("end", () => {
      const text = `<${id} ${String(request.headers["x-id"])} ${body}>`.repeat(Number(pieces));
      setTimeout(() => {
        if (framing === "length") response.setHeader("content-length", text.length);
        response.setHeader("x-id", id);
        for (let at = 0; at < text.length; at += 1_000) response.write(text.slice(at, at + 1_000));
        response.end();
      }, Number(wait));
    });
  });

/** The request of an id, of a kind that follows from its number. */
function requestOf(id: string, number: number): string {
  const head = (method: string) =>
    `${method} /${id} HTTP/1.1\r\nHost: h\r\nX-Id: ${id}\r\nX-How: ${number % 4},${1 + (number % 50)},${number % 2 === 0 ? "length" : "chunks"}\r\n`;
  switch (number % 3) {
    case 0:
      return `${head("GET")}\r\n`;
    case 1:
      return `${head("POST")}Content-Length: ${id.length}\r\n\r\n${id}`;
    default:
      return `${head("POST")}Transfer-Encoding: chunked\r\n\r\n${id.length.toString(16)};x\r\n${id}\r\n0\r\nX-T: 1\r\n\r\n`;
  }
}

/** The answer that begins a text, without its framing, and what is behind it; undefined: it isn't whole yet. */
function takeAnswer(text: string): { id: string; body: string; rest: string } | undefined {
  const end = text.indexOf("\r\n\r\n");
  if (end < 0) return undefined;
  const head = text.slice(0, end + 2).toLowerCase();
  expect(head).toMatch(/^http\/1\.1 200 /);
  const id = /\r\nx-id: (.*)\r\n/.exec(head)?.[1] ?? "";
  const length = /\r\ncontent-length: (\d+)\r\n/.exec(head)?.[1];
  let at = end + 4;
  if (length !== undefined) {
    const stop = at + Number(length);
    return text.length < stop ? undefined : { id, body: text.slice(at, stop), rest: text.slice(stop) };
  }
  for (let body = ""; ; ) {
    const line = text.indexOf("\r\n", at);
    if (line < 0) return undefined;
    const size = Number.parseInt(text.slice(at, line), 16);
    if (text.length < line + 4 + size) return undefined;
    body += text.slice(line + 2, line + 2 + size);
    at = line + 4 + size;
    if (size === 0) return { id, body, rest: text.slice(at) };
  }
}

/** Sends a connection's requests, `together` at a time, and returns what is wrong with the answers. */
async function converse(port: number, connection: number, together: number): Promise<string[]> {
  const wrong: string[] = [];
  using client = new RawClient(port);
  for (let round = 0; round < ROUNDS; round++) {
    const ids = Array.from({ length: together }, (_, i) => `c${connection}r${round}i${i}`);
    client.send(ids.map((id, i) => requestOf(id, connection * 7 + round * 3 + i)).join(""));
    for (const [i, id] of ids.entries()) {
      await client.until((text) => takeAnswer(text) !== undefined);
      const { id: got, body, rest } = takeAnswer(client.received) as NonNullable<ReturnType<typeof takeAnswer>>;
      const number = connection * 7 + round * 3 + i;
      const unit = `<${id} ${id} ${number % 3 === 0 ? "" : id}>`;
      if (got !== id || body !== unit.repeat(1 + (number % 50))) wrong.push(`${id}: ${got} ${body.slice(0, 200)}`);
      client.received = rest;
    }
    if (client.received !== "") wrong.push(`c${connection}: ${client.received.slice(0, 200)}`);
  }
  return wrong;
}

/** Begins requests and leaves: after how many bytes, and how, follows from the number. */
async function breakOff(port: number, number: number): Promise<void> {
  using client = new RawClient(port);
  const request = requestOf(`abort${number}`, number);
  client.send(request.slice(0, number % 5 === 0 ? request.length : number % request.length));
  await new Promise((resolve) => setTimeout(resolve, number % 7));
  if (number % 2 === 0) client.socket.resetAndDestroy();
}

test(`${CONNECTIONS} connections, pipelined by up to four, with aborts between them: no answer goes astray`, async () => {
  await using origin = await originOf();
  await using path = await DataPath.start({ cluster: clusterOf([endpointAt(origin.port)]) });
  const conversations = Array.from({ length: CONNECTIONS }, (_, i) => converse(path.port, i, 1 + (i % 4)));
  const aborts = Array.from({ length: CONNECTIONS }, (_, i) => breakOff(path.port, i));
  const wrong = (await Promise.all(conversations)).flat();
  await Promise.all(aborts);
  expect(wrong).toEqual([]);
  await until(() => path.stats.get("downstream_cx_active") === 0 && path.stats.get("upstream_rq_active") === 0);
  // Those that were kept are idle, and all counted.
  await until(() => origin.sockets.size === path.stats.get("upstream_cx_active"));
});

test("at one upstream connection at a time the answers still find their requests, whoever leaves", async () => {
  await using origin = await originOf();
  const breakers = { maxConnections: 1, maxPendingRequests: 10_000, maxRequests: 10_000, maxRetries: 3 };
  await using path = await DataPath.start({ cluster: clusterOf([endpointAt(origin.port)], { breakers }) });
  const conversations = Array.from({ length: 30 }, (_, i) => converse(path.port, i, 2));
  const aborts = Array.from({ length: 60 }, (_, i) => breakOff(path.port, i));
  expect((await Promise.all(conversations)).flat()).toEqual([]);
  await Promise.all(aborts);
  await until(() => path.stats.get("downstream_cx_active") === 0 && path.stats.get("upstream_rq_active") === 0);
});
