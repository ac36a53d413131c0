import { expect, test } from "vitest";

import { type FieldsOf, MessageCheck } from "./messages.ts";

const check = new MessageCheck();
const GET = [":method", "GET", ":scheme", "http", ":path", "/", ":authority", "a.test"];
const accepts = (fields: readonly string[], kind: FieldsOf, connectProtocol = false) =>
  check.accepts(fields, kind, connectProtocol);

const good: [string, FieldsOf, string[]][] = [
  ["a plain request", "request", GET],
  ["host in place of :authority", "request", [...GET.slice(0, 6), "host", "a.test"]],
  ["CONNECT", "request", [":method", "CONNECT", ":authority", "a.test:443"]],
  ["te: trailers", "request", [...GET, "te", "Trailers"]],
  ["an empty value", "request", [...GET, "a", ""]],
  ["white space and high bytes inside of a value", "request", [...GET, "a", "\xfc \t\xff"]],
  ["a response", "response", [":status", "200", "content-length", "5"]],
  ["trailers", "trailers", ["grpc-status", "0"]],
];

test.each(good)("%s is fine", (_title, kind, fields) => {
  expect(accepts(fields, kind)).toBe(true);
});

const bad: [string, FieldsOf, string[]][] = [
  ["no fields", "request", []],
  ["connection", "request", [...GET, "connection", "close"]],
  ["te of another coding", "request", [...GET, "te", "trailers, gzip"]],
  ["a pseudo-header behind a field", "request", ["a", "b", ...GET]],
  ["a pseudo-header twice", "request", [...GET, ":path", "/"]],
  ["an unknown pseudo-header", "request", [...GET, ":a", "b"]],
  ["a response's pseudo-header", "request", [...GET, ":status", "200"]],
  ["no method", "request", GET.slice(2)],
  ["no path", "request", [...GET.slice(0, 4), ":authority", "a"]],
  ["an empty path", "request", [...GET.slice(0, 4), ":path", "", ":authority", "a"]],
  ["no authority", "request", GET.slice(0, 6)],
  ["user information", "request", [...GET.slice(0, 6), ":authority", "u@a.test"]],
  ["CR LF in the host", "request", [...GET.slice(0, 6), "host", "a\r\nb: c"]],
  ["a space in the method", "request", [":method", "GET /", ...GET.slice(2)]],
  ["CONNECT with a path", "request", [":method", "CONNECT", ":path", "/", ":authority", "a:1"]],
  ["CONNECT with a content-length", "request", [":method", "CONNECT", ":authority", "a:1", "content-length", "0"]],
  [":protocol where nobody allowed it", "request", [":method", "CONNECT", ...GET.slice(2), ":protocol", "websocket"]],
  [":protocol with another method", "request", [...GET, ":protocol", "websocket"]],
  ["two content-lengths", "request", [...GET, "content-length", "1", "content-length", "1"]],
  ["a content-length that is no number", "request", [...GET, "content-length", "0x1"]],
  ["no status", "response", ["a", "b"]],
  ["a status that is none", "response", [":status", "20"]],
  ["a status twice", "response", [":status", "200", ":status", "200"]],
  ["a request's pseudo-header in a response", "response", [":status", "200", ":path", "/"]],
  ["transfer-encoding in a response", "response", [":status", "200", "transfer-encoding", "chunked"]],
  ["a pseudo-header in trailers", "trailers", [":status", "200"]],
];

test.each(bad)("%s is malformed", (_title, kind, fields) => {
  expect(accepts(fields, kind)).toBe(false);
});

test("extended CONNECT needs all pseudo-headers, and to be allowed", () => {
  const websocket = [":method", "CONNECT", ":protocol", "websocket", ...GET.slice(2)];
  expect(accepts(websocket, "request", true)).toBe(true);
  expect(accepts(websocket, "request", false)).toBe(false);
  expect(accepts(websocket.slice(0, 6), "request", true)).toBe(false);
  expect(accepts([...websocket, "content-length", "5"], "request", true)).toBe(false);
});

test("what it says of a message is of the last one only", () => {
  accepts([":status", "404", "content-length", "12"], "response");
  expect([check.status, check.contentLength]).toEqual([404, 12]);
  accepts(GET, "request");
  expect([check.status, check.contentLength]).toEqual([0, -1]);
});
