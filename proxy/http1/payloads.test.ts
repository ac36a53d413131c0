/**
 * What Node's parser lets through and the edges of what is allowed, each with its verdict: the bytes go through the
 * real listener, and the origin, which reads no HTTP, tells to the byte what it got. A plain request behind each shows whether the connection
 * was still in step.
 */
import { expect, test } from "vitest";

import { clusterOf, DataPath, type DataPathOptions, endpointAt, TestServer } from "../../test/support/data-path.ts";
import { exchange } from "../../test/support/raw-client.ts";

const HOST = "Host: h\r\n";
const CHUNKED = "Transfer-Encoding: chunked\r\n";
const LAST = `GET /last HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n`;
const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/** Fields that the gateway adds to each request; they are no part of what is looked at. */
const ADDED =
  /^(x-forwarded-for|x-forwarded-proto|x-envoy-external-address|x-envoy-expected-rq-timeout-ms|x-request-id): .*\r\n/gm;

/** Sends the bytes and the last request; gives the statuses of the answers, and what reached the origin of all but the last. */
async function send(bytes: string, changes: DataPathOptions = {}) {
  let got = "";
  await using origin = await TestServer.raw((socket) => {
    let unanswered = "";
    socket.on("data", (piece) => {
      const text = piece.toString("latin1");
      got += text;
      unanswered += text;
      for (let end = requestEnd(unanswered); end > 0; end = requestEnd(unanswered)) {
        unanswered = unanswered.slice(end);
        socket.write(OK);
      }
    });
  });
  await using path = await DataPath.start({ cluster: clusterOf([endpointAt(origin.port)]), ...changes });
  const answers = await exchange(path.port, bytes + LAST);
  const statuses = [...answers.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status));
  return {
    statuses,
    seen: got.replaceAll(ADDED, "").replace(/GET \/last [^]*$/, ""),
    last: got.includes("GET /last "),
  };
}

/** Where the first request ends, 0: not yet. The proxy writes each with one framing, in canonical form. */
function requestEnd(text: string): number {
  const head = text.indexOf("\r\n\r\n");
  if (head < 0) return 0;
  const fields = text.slice(0, head + 2);
  if (/\r\ntransfer-encoding: chunked\r\n/i.test(fields)) {
    const end = text.indexOf("0\r\n\r\n", head + 4);
    return end < 0 ? 0 : end + 5;
  }
  const end = head + 4 + Number(/\r\ncontent-length: (\d+)\r\n/i.exec(fields)?.[1] ?? 0);
  return text.length < end ? 0 : end;
}

const get = (path = "/", fields = ""): string => `GET ${path} HTTP/1.1\r\nhost: h\r\n${fields}\r\n`;

/** What is forwarded, and to the byte as what. */
const forwarded: [title: string, bytes: string, seen: string][] = [
  [
    "sec 3 an absolute target with another Host",
    `GET http://b:81/a HTTP/1.1\r\n${HOST}\r\n`,
    "GET /a HTTP/1.1\r\nhost: b:81\r\n\r\n",
  ],
  ["sec 11 /a/../b", `GET /a/../b HTTP/1.1\r\n${HOST}\r\n`, get("/b")],
  ["sec 11 a backslash", `GET /a\\b HTTP/1.1\r\n${HOST}\r\n`, get("/a/b")],
  ["sec 11 an absolute target without path", `GET http://h?a HTTP/1.1\r\n${HOST}\r\n`, get("/?a")],
  ["sec 1 one leading CRLF", `\r\nGET / HTTP/1.1\r\n${HOST}\r\n`, get()],
  [
    "sec 1 chunk extensions",
    `POST / HTTP/1.1\r\n${HOST}${CHUNKED}\r\n3;a=b;c="d"\r\nabc\r\n0;e\r\n\r\n`,
    "POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
  ],
  [
    "sec 1 a chunk size with zeros",
    `POST / HTTP/1.1\r\n${HOST}${CHUNKED}\r\n0003\r\nabc\r\n000\r\n\r\n`,
    "POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
  ],
  [
    "sec 1 what looks like a request in a body",
    `POST / HTTP/1.1\r\n${HOST}Content-Length: 28\r\n\r\nGET /x HTTP/1.1\r\nhost: h\r\n\r\n`,
    "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 28\r\n\r\nGET /x HTTP/1.1\r\nhost: h\r\n\r\n",
  ],
  [
    "sec 1 GET with a body",
    `GET / HTTP/1.1\r\n${HOST}Content-Length: 3\r\n\r\nabc`,
    `${get("/", "content-length: 3\r\n")}abc`,
  ],
  [
    "sec 1 GET with chunks",
    `GET / HTTP/1.1\r\n${HOST}${CHUNKED}\r\n3\r\nabc\r\n0\r\n\r\n`,
    `${get("/", "transfer-encoding: chunked\r\n")}3\r\nabc\r\n0\r\n\r\n`,
  ],
  [
    "sec 1 a content-length with zeros",
    `POST / HTTP/1.1\r\n${HOST}Content-Length: 003\r\n\r\nabc`,
    "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 003\r\n\r\nabc",
  ],
  [
    "sec 9 trailers",
    `POST / HTTP/1.1\r\n${HOST}${CHUNKED}\r\n0\r\nHost: b\r\nX-A: 1\r\nContent-Length: 9\r\n\r\n`,
    "POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
  ],
  [
    "sec 5 names that Connection lists",
    `GET / HTTP/1.1\r\n${HOST}Connection: X-Auth, keep-alive\r\nX-Auth: 1\r\nX-B: 2\r\n\r\n`,
    get("/", "x-b: 2\r\n"),
  ],
  [
    "sec 6 Upgrade: h2c",
    `GET / HTTP/1.1\r\n${HOST}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n`,
    get(),
  ],
  ["sec 6 Upgrade without Connection", `GET / HTTP/1.1\r\n${HOST}Upgrade: websocket\r\n\r\n`, get()],
  ["sec 12 an underscore", `GET / HTTP/1.1\r\n${HOST}Content_Length: 9\r\n\r\n`, get("/", "content_length: 9\r\n")],
  [
    "sec 2 Transfer-Encoding: CHUNKED",
    `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: CHUNKED\r\n\r\n0\r\n\r\n`,
    "POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
  ],
];

test.each(forwarded)("%s goes on, framed once", async (_title, bytes, seen) => {
  const sent = await send(bytes);
  expect(sent).toMatchObject({ statuses: [200, 200], last: true });
  // Names may be written in any case.
  expect(sent.seen.replaceAll(/^[\w-]+:/gm, (name) => name.toLowerCase())).toBe(seen);
});

/** What nothing of may reach the origin: the connection ends with it, and what follows isn't read. */
const refused: [title: string, bytes: string, status?: number, changes?: DataPathOptions][] = [
  [
    "sec 1 content-length, chunked and a request behind",
    `POST / HTTP/1.1\r\n${HOST}Content-Length: 6\r\n${CHUNKED}\r\n0\r\n\r\nG`,
  ],
  ["sec 1 chunked by obs-fold", `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n`, 501],
  ["sec 1 chunked hidden behind a NUL", `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding\0: chunked\r\n\r\n0\r\n\r\n`],
  ["sec 1 a field name with a space within", `POST / HTTP/1.1\r\n${HOST}Content Length: 3\r\n\r\nabc`],
  ["sec 1 a tab before the colon", `POST / HTTP/1.1\r\n${HOST}Content-Length\t: 3\r\n\r\nabc`],
  ["sec 1 a content-length with spaces within", `POST / HTTP/1.1\r\n${HOST}Content-Length: 3 3\r\n\r\nabc`],
  ["sec 1 a content-length with a fraction", `POST / HTTP/1.1\r\n${HOST}Content-Length: 3.0\r\n\r\nabc`],
  ["sec 1 a content-length in other digits", `POST / HTTP/1.1\r\n${HOST}Content-Length: \xb3\r\n\r\nabc`],
  ["sec 1 a content-length beyond 2^53", `POST / HTTP/1.1\r\n${HOST}Content-Length: 9007199254740993\r\n\r\nabc`],
  ["sec 1 CR CR LF", `GET / HTTP/1.1\r\n${HOST}\r\r\n\r\n`],
  ["sec 1 a high byte in a name", `GET / HTTP/1.1\r\n${HOST}X-\xfc: 1\r\n\r\n`],
  ["sec 1 DEL in a value", `GET / HTTP/1.1\r\n${HOST}X-A: \x7f\r\n\r\n`],
  ["sec 1 two leading LFs", `\n\nGET / HTTP/1.1\r\n${HOST}\r\n`],
  ["sec 1 a response", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"],
  ["sec 2 gzip", `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: gzip\r\n\r\nabc`, 501],
  ["sec 2 chunked with a parameter", `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n`, 501],
  ["sec 2 an empty transfer-encoding", `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding:\r\n\r\n0\r\n\r\n`, 501],
  ["sec 2 , chunked", `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: , chunked\r\n\r\n0\r\n\r\n`, 501],
  ["sec 3 two hosts", `GET / HTTP/1.1\r\n${HOST}Host: other\r\n\r\n`],
  ["sec 3 two authorities in a target", `GET http://a://b/ HTTP/1.1\r\n${HOST}\r\n`],
  ["sec 3 an absolute target without host", `GET http:///a HTTP/1.1\r\n${HOST}\r\n`],
  ["sec 11 DEL in the target", `GET /\x7f HTTP/1.1\r\n${HOST}\r\n`],
  ["sec 11 NUL in the target", `GET /\0 HTTP/1.1\r\n${HOST}\r\n`],
];

test.each(refused)("%s reaches nobody", async (_title, bytes, status = 400, changes = {}) => {
  expect(await send(bytes, changes)).toEqual({ statuses: [status], seen: "", last: false });
});

/** Refused amid the body: the origin has got the head, and never gets an end. */
const broken: [title: string, chunks: string][] = [
  ["0x1", "0x1\r\na\r\n0\r\n\r\n"],
  ["-1", "-1\r\na\r\n0\r\n\r\n"],
  ["a trailing space", "1 \r\na\r\n0\r\n\r\n"],
  ["a leading space", " 1\r\na\r\n0\r\n\r\n"],
  ["a bare LF", "1\na\r\n0\r\n\r\n"],
  ["an underscore", "1_0\r\na\r\n0\r\n\r\n"],
  ["2^64 and more", "10000000000000001\r\na\r\n0\r\n\r\n"],
  ["2^53 and more", "20000000000001\r\na\r\n0\r\n\r\n"],
  ["more data than it says", "1\r\nab\r\n0\r\n\r\n"],
  ["less data than it says", "3\r\na\r\n0\r\n\r\n"],
  ["LF behind the data", "1\r\na\n0\r\n\r\n"],
  ["an extension with a bare CR", "1;a\rb\r\na\r\n0\r\n\r\n"],
  ["a last chunk that LFs end", "1\r\na\r\n0\n\n"],
  ["a trailer with obs-fold", "0\r\nA: 1\r\n 2\r\n\r\n"],
  ["a trailer without colon", "0\r\nabc\r\n\r\n"],
];

test.each(broken)(
  "sec 1 a chunk size with %s ends the request, which the origin never sees whole",
  async (_title, chunks) => {
    const { statuses, seen, last } = await send(`POST /a HTTP/1.1\r\n${HOST}${CHUNKED}\r\n${chunks}`);
    expect({ statuses, last }).toEqual({ statuses: [400], last: false });
    expect(seen).not.toMatch(/0\r\n\r\n$/);
  },
);
