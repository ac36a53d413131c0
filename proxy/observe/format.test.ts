/** Access log lines, by Envoy's command operators (proxy-parity 3.14). */
import type { JsonObject } from "@bufbuild/protobuf";
import { expect, test } from "vitest";

import { requestHead } from "../../test/support/request-head.ts";
import { Place } from "../compile.ts";
import type { RequestRecord } from "./access-log.ts";
import { compileJsonFormat, compileTextFormat, DEFAULT_TEXT_FORMAT } from "./format.ts";

const record = (parts: Partial<RequestRecord> = {}): RequestRecord => ({
  startMs: Date.UTC(2026, 10, 21, 2, 3, 4, 5),
  startedAt: 100,
  requestEndAt: 101,
  responseHeadAt: 110.6,
  responseStartAt: 111,
  endAt: 120.4,
  protocol: "HTTP/1.1",
  head: requestHead({
    path: "/new?q",
    headers: { "user-agent": 'curl "8"', "x-long": "abcdef", "x-envoy-original-path": "/old?q" },
  }),
  originalPath: "/old?q",
  status: 200,
  responseHeaders: { get: (name) => (name === "x-answer" ? "42" : undefined) },
  responseTrailers: undefined,
  localReplyBody: undefined,
  dynamicMetadata: undefined,
  trace: undefined,
  details: "via_upstream",
  flags: [],
  bytesReceived: 3,
  bytesSent: 5,
  upstreamHost: "10.0.0.1:80",
  upstreamLocalAddress: undefined,
  upstreamCluster: "orders",
  upstreamClusterRaw: "orders",
  upstreamTransportFailure: undefined,
  attempts: 1,
  routeName: "z\u00fcrich",
  virtualHost: undefined,
  requestId: "id-1",
  downstreamLocalAddress: "127.0.0.1:9080",
  downstreamRemoteAddress: "192.0.2.1",
  downstreamRemotePort: 40_000,
  peer: {
    downstreamLocalAddress: "127.0.0.1:9080",
    downstreamRemoteAddress: "192.0.2.7",
    downstreamRemotePort: 40_001,
  },
  ...parts,
});

function text(format: string, of = record(), omitEmpty = false): string {
  const place = Place.root();
  const compiled = compileTextFormat(format, omitEmpty, place);
  expect(place.problems).toEqual([]);
  return compiled(of);
}

function json(format: JsonObject, of = record(), omitEmpty = false): string {
  const place = Place.root();
  const compiled = compileJsonFormat(format, omitEmpty, place);
  expect(place.problems).toEqual([]);
  return compiled(of);
}

test.each([
  ["%START_TIME%", "2026-11-21T02:03:04.005Z"],
  ["%START_TIME(%Y/%m/%d %H:%M:%S.%3f)%", "2026/11/21 02:03:04.005"],
  ["%START_TIME(%s)%", "1795226584"],
  ["%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%", "GET /old?q"],
  ["%REQ(:PATH)%", "/new?q"],
  ["%REQ(NOT-THERE?USER-AGENT)%", 'curl "8"'],
  ["%REQ(X-LONG):3%", "abc"],
  ["%REQ(X-REQUEST-ID)%", "id-1"],
  ["%RESP(X-ANSWER)% %RESP(NOT-THERE)%", "42 -"],
  ["%PROTOCOL% %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%", "HTTP/1.1 200 - via_upstream"],
  ["%DURATION% %REQUEST_DURATION% %RESPONSE_DURATION% %RESPONSE_TX_DURATION%", "20 1 11 10"],
  ["%DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", "192.0.2.1:40000 192.0.2.1"],
  ["%ROUTE_NAME%", "z\u00fcrich"],
  ["100%% %UPSTREAM_LOCAL_ADDRESS%", "100% -"],
])("%s", (format, expected) => {
  expect(text(format)).toBe(expected);
});

test("the default format is Envoy's", () => {
  expect(text(DEFAULT_TEXT_FORMAT)).toBe(
    '[2026-11-21T02:03:04.005Z] "GET /old?q HTTP/1.1" 200 - 3 5 20 - "-" "curl "8"" "id-1" "example.com" "10.0.0.1:80"\n',
  );
});

test("sec 20 a client cannot break a line in two", () => {
  const head = requestHead({ headers: { "x-evil": "a\nb\u007f" } });
  expect(text("%REQ(X-EVIL)%", record({ head }))).toBe("a\\x0ab\\x7f");
  expect(json({ evil: "%REQ(X-EVIL)%" }, record({ head }))).toBe('{"evil":"a\\nb\u007f"}\n');
});

test.each([
  ["the next line", "\u0085", "\\x85", "\\u0085"],
  ["what a terminal takes for ESC [", "\u009b", "\\x9b", "\\u009b"],
  ["a line separator", "\u2028", "\\u2028", "\\u2028"],
])("sec 20 nor by %s, which is beyond ASCII", (_, char, inText, inJson) => {
  const wire = Buffer.from(`a${char}b\u00e9`).toString("latin1");
  const of = record({ head: requestHead({ headers: { "x-evil": wire } }) });
  expect(text("%REQ(X-EVIL)%", of)).toBe(`a${inText}b\u00e9`);
  expect(json({ evil: "%REQ(X-EVIL)%" }, of)).toBe(`{"evil":"a${inJson}b\u00e9"}\n`);
  expect(json({ evil: "x%REQ(X-EVIL)%" }, of)).toBe(`{"evil":"xa${inJson}b\u00e9"}\n`);
});

test("bytes beyond ASCII are UTF-8 characters in the log", () => {
  const head = requestHead({ headers: { x: "\u00c3\u00a9" } });
  expect(text("%REQ(X)%", record({ head }))).toBe("\u00e9");
  expect(json({ x: "%REQ(X)%", r: "r: %ROUTE_NAME% \u00e9" }, record({ head }))).toBe(
    '{"x":"\u00e9","r":"r: z\u00fcrich \u00e9"}\n',
  );
});

test("JSON keeps types: numbers are numbers, unset is null, text with operators is text", () => {
  const line = json({
    status: "%RESPONSE_CODE%",
    local: "%UPSTREAM_LOCAL_ADDRESS%",
    agent: "%REQ(USER-AGENT)%",
    both: "%RESPONSE_CODE% %UPSTREAM_LOCAL_ADDRESS%",
    flags: "%RESPONSE_FLAGS%",
    constant: 1,
    nested: { list: ["%BYTES_SENT%", true] },
  });
  expect(JSON.parse(line)).toEqual({
    status: 200,
    local: null,
    agent: 'curl "8"',
    both: "200 -",
    flags: "-",
    constant: 1,
    nested: { list: [5, true] },
  });
});

test("omit_empty_values", () => {
  const format = { local: "%UPSTREAM_LOCAL_ADDRESS%", sent: "%BYTES_SENT%" };
  expect(json(format, record(), true)).toBe('{"sent":5}\n');
  expect(text("[%UPSTREAM_LOCAL_ADDRESS%]", record(), true)).toBe("[]");
});

test("a request without a head", () => {
  const line = json(
    { path: "%REQ(:PATH)%", id: "%REQ(X-REQUEST-ID)%" },
    record({ head: undefined, requestId: undefined }),
  );
  expect(line).toBe('{"path":null,"id":null}\n');
});

test.each([
  ["%NOPE%", "%NOPE% is not supported"],
  ["%REQ%", "%REQ% needs one or two header names"],
  ["%REQ(A?B?C)%", "%REQ% needs one or two header names"],
  ["%PROTOCOL(x)%", "%PROTOCOL% takes no argument"],
  ["%START_TIME(%Q)%", "START_TIME: %Q is not supported"],
  ["50%", "%% is not an operator"],
  ["%lower%", "%lower% is not an operator"],
])("%s is refused", (format, message) => {
  const place = Place.root();
  compileTextFormat(format, false, place.field("text_format"));
  expect(place.problems).toEqual([{ field: "text_format", message }]);
});
