import fc from "fast-check";

import { chunk, eol, mostly, mutate, mutation, of } from "../differential/raw-mutations.ts";

/** What an origin sends for a request, and then ends; where the bytes are cut (modulo their length). */
export interface RawResponse {
  readonly method: "GET" | "HEAD";
  readonly bytes: string;
  readonly cuts: readonly number[];
}

const status = fc.oneof({ weight: 6, arbitrary: fc.constant("200") }, of("204", "304", "404", "500", "205", "206"));

const statusLine = fc
  .tuple(
    mostly("HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "http/1.1", "HTTP/1.2"),
    mostly(" ", "  ", "\t"),
    mostly("", "099", "20", "2000", "2x0", "600"),
    status,
    mostly(" OK", "", " ", " Not \xe9", " a\tb", " a\0"),
  )
  .map(([version, space, odd, usual, reason]) => `${version}${space}${odd === "" ? usual : odd}${reason}`);

const field = fc.oneof(
  {
    weight: 4,
    arbitrary: of("X-A: 1", "X-B:", "x-c: a b ", "X-D:\t1\t", "Content-Type: text/plain", "X-A: 2", "X-E: \xfc"),
  },
  of(
    ...["Connection: close", "Connection: keep-alive", "Connection: X-A", "Keep-Alive: timeout=1", "Trailer: X-T"],
    ...[
      "Content-Length: 3",
      "Content-Length: 0",
      "Transfer-Encoding: chunked",
      "Transfer-Encoding: gzip",
      "Upgrade: foo",
    ],
  ),
);

const framed = fc.oneof(
  { weight: 1, arbitrary: fc.constant({ field: "", body: "until the end" }) },
  {
    weight: 3,
    arbitrary: fc.tuple(of("", "abc", "HTTP/1.1 200 OK\r\n\r\n"), of(0, 0, 0, 0, 0, 1, -1)).map(([body, off]) => ({
      field: `Content-Length: ${Math.max(0, body.length + off)}\r\n`,
      body,
    })),
  },
  {
    weight: 3,
    arbitrary: fc
      .tuple(fc.array(chunk, { maxLength: 3 }), of("0\r\n\r\n", "0\r\nX-T: 1\r\n\r\n", "0;x\r\n\r\n", "00\r\n\r\n"))
      .map(([chunks, end]) => ({ field: "Transfer-Encoding: chunked\r\n", body: chunks.join("") + end })),
  },
);

const interim = mostly("", "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n");

/** One response, seldom behind an interim one, wrong in few places. */
export const responses: fc.Arbitrary<RawResponse> = fc
  .record({
    method: fc.oneof({ weight: 5, arbitrary: fc.constant("GET" as const) }, fc.constant("HEAD" as const)),
    interim,
    statusLine,
    end: eol,
    fields: fc.array(fc.tuple(field, eol), { maxLength: 4 }),
    framed,
    mutations: fc.array(mutation, { maxLength: 2 }),
    cuts: fc.array(fc.nat({ max: 100_000 }), { maxLength: 2 }),
  })
  .map(
    ({ method, interim: before, statusLine: line, end, fields, framed: { field: framing, body }, mutations, cuts }) => {
      const lines = fields.map(([text, ending]) => text + ending).join("");
      return { method, bytes: mutations.reduce(mutate, `${before}${line}${end}${lines}${framing}\r\n${body}`), cuts };
    },
  );
