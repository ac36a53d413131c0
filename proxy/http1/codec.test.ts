/** The codec without sockets: the same result at whichever bytes the input is cut. */
import fc from "fast-check";
import { expect, test } from "vitest";

import { normalizePath } from "../filters/path.ts";
import { BodyReader } from "./body.ts";
import { HeadReader } from "./head-reader.ts";
import { parseRequestHead, type RequestLimits, RequestMessage } from "./request-head.ts";
import { parseResponseHead, ResponseMessage } from "./response-head.ts";
import { Violation } from "./violation.ts";

const LIMITS: RequestLimits = { maxHeadersCount: 100, headersWithUnderscores: "allow", acceptHttp10: true };
const HEAD_BYTES_MAX = 61_440;

/** What a reader made of the input: each message with its body, then the violation if there was one. */
function read(pieces: readonly Buffer[], isRequest = true): string[] {
  const head = new HeadReader(isRequest);
  const body = new BodyReader();
  const results: string[] = [];
  let text = "";
  const sink = {
    onBody: (bytes: Buffer, from: number, to: number) => void (text += bytes.toString("latin1", from, to)),
  };
  for (const piece of pieces) {
    let at = 0;
    while (at < piece.length) {
      if (body.done) {
        if (!head.read(piece, at, piece.length, HEAD_BYTES_MAX)) {
          if (head.violation !== undefined) return [...results, `! ${head.violation.status}`];
          break;
        }
        at = head.next;
        const message = isRequest ? parseRequestHead(head, LIMITS, false) : parseResponseHead(head, LIMITS);
        if (message instanceof Violation) return [...results, `! ${message.status}`];
        const line = message instanceof RequestMessage ? `${message.method} ${message.path}` : `${message.status}`;
        text = `${line} ${message.headers.names.join()}=${message.headers.values.join()} `;
        if (message.chunked) body.startChunked();
        else body.startLength(Math.max(0, message.contentLength));
      } else {
        at = body.read(piece, at, piece.length, sink);
        if (body.violation !== undefined) return [...results, `! ${body.violation.status}`];
      }
      if (body.done) results.push(text);
    }
  }
  return results;
}

const REQUESTS = Buffer.from(
  "\r\nPOST /a?b=c HTTP/1.1\r\nHost: h\r\nX-A:  b c \t\r\nX-Empty:\r\nTransfer-Encoding: Chunked\r\n\r\n" +
    '3;x="y"\r\nabc\r\n00a\r\n0123456789\r\n0\r\nT: u\r\n\r\n' +
    "PUT /d HTTP/1.1\r\nHost: [::1]:80\r\nContent-Length: 4\r\n\r\nbody" +
    "GET http://x/y HTTP/1.1\r\nhost: z\r\n\r\n",
  "latin1",
);
const EXPECTED = ["POST /a?b=c x-a,x-empty=b c, abc0123456789", "PUT /d content-length=4 body", "GET /y = "];

test("messages are the same at every cut", () => {
  expect(read([REQUESTS])).toEqual(EXPECTED);
  expect(read(Array.from(REQUESTS, (byte) => Buffer.from([byte])))).toEqual(EXPECTED);
  for (let i = 0; i <= REQUESTS.length; i++) {
    expect(read([REQUESTS.subarray(0, i), REQUESTS.subarray(i)]), `cut at ${i}`).toEqual(EXPECTED);
  }
});

test("responses are the same at every cut", () => {
  const text =
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nSet-Cookie: a=b\r\nSet-Cookie: c\r\n\r\n1\r\na\r\n0\r\n\r\n" +
    "HTTP/1.1 404\r\nContent-Length: 2\r\n\r\nnoHTTP/1.0 500 \xfcber\r\nContent-Length: 0\r\n\r\n";
  const bytes = Buffer.from(text, "latin1");
  const expected = ["200 set-cookie,set-cookie=a=b,c a", "404 content-length=2 no", "500 content-length=0 "];
  for (let i = 0; i <= bytes.length; i++) {
    expect(read([bytes.subarray(0, i), bytes.subarray(i)], false), `cut at ${i}`).toEqual(expected);
  }
});

/** Pieces of messages, right and wrong, from which odd ones are put together. */
const fragment = fc.oneof(
  fc.constantFrom(
    ..."GET |POST |/ |* |http://a/ |HTTP/1.1|HTTP/1.0|\r\n|\r|\n|Host: h|Host:a@b|Content-Length: 3|Transfer-Encoding: chunked".split(
      "|",
    ),
    ..."|: | |\t|abc|0|3|a;b|Connection: close, x|Upgrade: websocket|Expect: 100-continue|\0|\xff|#|%00|%2e%2e".split(
      "|",
    ),
    "GET / HTTP/1.1\r\nHost: h\r\n",
    "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc",
    "3\r\nabc\r\n",
    "0\r\n\r\n",
    "\r\n\r\n",
  ),
  fc.string({ unit: "binary", maxLength: 5 }),
);

test.each([true, false])("no input crashes, and no cut changes what is read (requests: %s)", (isRequest) => {
  fc.assert(
    fc.property(fc.array(fragment, { maxLength: 14 }), fc.array(fc.nat(200), { maxLength: 5 }), (fragments, cuts) => {
      const bytes = Buffer.from(fragments.join(""), "latin1");
      const whole = read([bytes], isRequest);
      const places = [0, ...cuts.map((cut) => Math.min(cut, bytes.length)), bytes.length].sort((a, b) => a - b);
      const pieces = places.slice(1).map((to, i) => bytes.subarray(places[i], to));
      const cut = read(pieces, isRequest);
      // Refusals may come sooner when bytes are looked at one by one, but what is accepted must be the same.
      const accepted = (results: string[]) => results.filter((result) => !result.startsWith("!"));
      expect(accepted(cut)).toEqual(accepted(whole));
    }),
    { numRuns: 3_000 },
  );
});

test("reading is linear: a head of 60 KiB byte by byte, a million chunks", () => {
  const head = Buffer.from(
    `GET / HTTP/1.1\r\nHost: h\r\n${"A: b\r\n".repeat(90)}B: ${"x".repeat(60_000)}\r\n\r\n`,
    "latin1",
  );
  expect(read(Array.from(head, (byte) => Buffer.from([byte])))).toHaveLength(1);

  const chunks = `POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n${"1\r\na\r\n".repeat(200_000)}0\r\n\r\n`;
  expect(read([Buffer.from(chunks, "latin1")])[0]).toHaveLength("POST / = ".length + 200_000);
});

test("a body until close ends with the connection, others break off", () => {
  const body = new BodyReader();
  const sink = { onBody() {} };
  body.startUntilClose();
  body.read(Buffer.from("abc"), 0, 3, sink);
  expect([body.done, body.close()]).toEqual([false, true]);
  body.startLength(4);
  body.read(Buffer.from("abc"), 0, 3, sink);
  expect(body.close()).toBe(false);
  const head = Buffer.from("HTTP/1.1 200\r\n\r\n");
  expect(parseResponseHead({ bytes: head, from: 0, to: head.length }, LIMITS)).toBeInstanceOf(ResponseMessage);
});

test("a path that is called plain is one that no option changes", () => {
  const tricky = 'ab/.%2Fe\\"<>^`{|}?;~_-'.split("");
  const options = { normalizePath: true, mergeSlashes: true, escapedSlashes: "forward" } as const;
  let plain = 0;
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...tricky), { maxLength: 12 }), (chars) => {
      const bytes = Buffer.from(`GET /${chars.join("")} HTTP/1.1\r\nHost: h\r\n\r\n`, "latin1");
      const message = parseRequestHead({ bytes, from: 0, to: bytes.length }, LIMITS, false);
      if (message instanceof Violation || !message.isPlain) return;
      plain++;
      expect(normalizePath(message.path, options)).toEqual({ kind: "ok", path: message.path });
    }),
    { numRuns: 2_000 },
  );
  expect(plain).toBeGreaterThan(100);
});

test("a line goes on as it came only where it came as we write it", () => {
  const lines = ["Host: h", "X-A:  b", "X-B:c", "X-C: d ", "X-D:\te", "X-E: f", "x_G: H", "Cookie: ä"];
  const bytes = Buffer.from(`GET / HTTP/1.1\r\n${lines.join("\r\n")}\r\n\r\n`, "latin1");
  const message = parseRequestHead({ bytes, from: 0, to: bytes.length }, LIMITS, false) as RequestMessage;
  message.headers.setAt(4, "changed");
  message.headers.remove("x-a");
  expect(message.headers.toLines()).toBe("x-b: c\r\nx-c: d\r\nx-d: e\r\nx-e: changed\r\nx_g: H\r\ncookie: ä\r\n");
});
