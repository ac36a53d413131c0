import fc from "fast-check";

/** Bytes to send (latin1; "§" is the mark), and where to cut them into segments (modulo their length). */
export interface RawRequest {
  readonly bytes: string;
  readonly cuts: readonly number[];
}

/** One of the values. */
export const of = <T>(...values: T[]) => fc.constantFrom(...values);
/** Mostly what is right, sometimes what is odd. */
export const mostly = (right: string, ...odd: string[]) =>
  fc.oneof({ weight: 12, arbitrary: fc.constant(right) }, { weight: 1, arbitrary: of(...odd) });

const method = fc.oneof(
  { weight: 8, arbitrary: of("GET", "POST", "PUT", "DELETE") },
  of("OPTIONS", "PATCH", "PURGE", "get", "FOO", "TRACE"),
);

const target = fc.oneof(
  { weight: 6, arbitrary: of("/§", "/§?q=1", "/§/a/b", "/§%41") },
  of(
    "/x/../§",
    "/§//",
    "/§%2F",
    "/§%2e%2e",
    "/§;a",
    "/§\\a",
    "/§/.",
    "http://a.test/§",
    "http://b.test:80/§?x",
    "/§#a",
  ),
);

const field = fc.oneof(
  {
    weight: 4,
    arbitrary: of(
      ...[
        "X-A: 1",
        "X-B:",
        "X-C: a b",
        "x-d:\t1 ",
        "Accept: */*",
        "Cookie: a=b",
        "Connection: keep-alive",
        "User-Agent: curl/8",
      ],
      ...[
        "X-A: 2",
        "Cookie: c=d",
        "X-E: \xfc",
        "Accept-Encoding: gzip",
        "Forwarded: for=a",
        "Content-Type: text/plain",
      ],
    ),
  },
  of(
    ...[
      "Connection: close",
      "Connection: X-A",
      "TE: trailers",
      "TE: gzip",
      "Trailer: X-T",
      "Keep-Alive: timeout=1",
      "X_U: 1",
    ],
    ...[
      "Expect: 100-continue",
      "Upgrade: h2c",
      "Upgrade: foo",
      "Connection: Upgrade",
      "Proxy-Connection: close",
      "Via: 1.1 x",
    ],
    ...[
      "X-Forwarded-Proto: https",
      "X-Forwarded-For: 1.2.3.4",
      "X-Envoy-Retry-On: 5xx",
      "X-Request-Id: a",
      "Host: b.test",
    ],
    ...["Content-Length: 3", "Transfer-Encoding: chunked", "Transfer-Encoding: identity", "Content-Length: 0"],
  ),
);

const size = (bytes: number) =>
  mostly(
    bytes.toString(16),
    `0${bytes.toString(16)}`,
    `${bytes.toString(16)};a=b`,
    `${bytes.toString(16)} `,
    `+${bytes}`,
  );
/** Line ends, seldom odd. */
export const eol = mostly("\r\n", "\n", "\r", "\r\r\n", "\r\n ");
/** A chunk, seldom odd. */
export const chunk = of("a", "abc", "0\r\n\r\n", "GET /§smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n").chain((data) =>
  fc.tuple(size(data.length), eol, eol).map(([digits, one, two]) => `${digits}${one}${data}${two}`),
);

const framed = fc.oneof(
  { weight: 3, arbitrary: fc.constant({ field: "", body: "" }) },
  {
    weight: 2,
    arbitrary: fc
      .tuple(of("", "abc", "GET /§smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n"), of(0, 0, 0, 0, 0, 0, 1, -1))
      .map(([body, off]) => ({
        field: `Content-Length: ${Math.max(0, body.replace("§", "t0000000t").length + off)}\r\n`,
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

const whole = fc
  .record({
    method,
    target,
    version: mostly("HTTP/1.1", "HTTP/1.0", "HTTP/1.2", "http/1.1", "HTTP/2.0"),
    space: mostly(" ", "  ", "\t"),
    end: eol,
    host: mostly("a.test", "b.test:80", "", "a@b", "a b", "[::1]", "a/b", "A.TEST"),
    fields: fc.array(fc.tuple(field, eol), { maxLength: 5 }),
    framed,
  })
  .map(({ method, target, version, space, end, host, fields, framed }) => {
    const lines = fields.map(([text, eol]) => text + eol).join("");
    return `${method}${space}${target} ${version}${end}Host: ${host}\r\nX-Mark: §\r\n${lines}${framed.field}\r\n${framed.body}`;
  });

const oddByte = of(
  "\r",
  "\n",
  "\r\n",
  " ",
  "\t",
  "\0",
  ":",
  ",",
  ";",
  "0",
  "f",
  "-",
  "\x7f",
  "\xff",
  "\v",
  "X",
  "/",
  "\\",
  "%",
  '"',
);

/** Puts in, takes away, replaces or doubles something at a random place. */
export const mutation = fc.tuple(
  of("insert", "remove", "replace", "double"),
  fc.nat(),
  oddByte,
  fc.integer({ min: 1, max: 12 }),
);

/** Applies a mutation. */
export const mutate = (text: string, [how, place, odd, length]: [string, number, string, number]): string => {
  const at = place % (text.length + 1);
  if (how === "insert") return text.slice(0, at) + odd + text.slice(at);
  if (how === "remove") return text.slice(0, at) + text.slice(at + 1);
  if (how === "replace") return text.slice(0, at) + odd + text.slice(at + 1);
  return text.slice(0, at + length) + text.slice(at);
};

/** One to three pipelined requests, wrong in few places. */
export const mutated: fc.Arbitrary<RawRequest> = fc
  .tuple(
    fc.array(whole, { minLength: 1, maxLength: 3 }),
    fc.array(mutation, { maxLength: 2 }),
    fc.array(fc.nat({ max: 100_000 }), { maxLength: 3 }),
  )
  .map(([requests, mutations, cuts]) => ({ bytes: mutations.reduce(mutate, requests.join("")), cuts }));
