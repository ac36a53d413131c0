/** What trace contexts are read and refused; what is told on is compared with Envoy in test/differential/collectors.test.ts. */
import { expect, test } from "vitest";

import { Headers } from "../../headers.ts";
import { b3, w3c } from "./propagation.ts";

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN = "00f067aa0ba902b7";

function headersOf(fields: Record<string, string>): Headers {
  const headers = new Headers();
  for (const [name, value] of Object.entries(fields)) headers.add(name, value);
  return headers;
}

test.each([
  ["a later version with more parts", `cc-${TRACE}-${SPAN}-01-what`, true],
  ["flags that nobody knows", `00-${TRACE}-${SPAN}-fe`, false],
])("traceparent: %s is read", (_, traceparent, sampled) => {
  expect(w3c.extract(headersOf({ traceparent }))).toEqual({ traceId: TRACE, spanId: SPAN, parentSpanId: "", sampled });
});

test.each([
  ["no trace", `00-${"0".repeat(32)}-${SPAN}-01`],
  ["no span", `00-${TRACE}-${"0".repeat(16)}-01`],
  ["the forbidden version", `ff-${TRACE}-${SPAN}-01`],
  ["more parts in version 00", `00-${TRACE}-${SPAN}-01-x`],
  ["upper case", `00-${TRACE.toUpperCase()}-${SPAN}-01`],
  ["two of them", `00-${TRACE}-${SPAN}-01,00-${TRACE}-${SPAN}-01`],
  ["nonsense", "x"],
])("traceparent: %s begins a new trace, without the old tracestate", (_, traceparent) => {
  const headers = headersOf({ traceparent, tracestate: "a=b" });
  expect(w3c.extract(headers)).toBeUndefined();
  expect(headers.has("tracestate")).toBe(false);
});

test.each<[string, Record<string, string>, unknown]>([
  ["a short trace id", { "x-b3-traceid": SPAN, "x-b3-spanid": SPAN }, { traceId: SPAN, sampled: undefined }],
  ["debug", { "x-b3-traceid": TRACE, "x-b3-spanid": SPAN, "x-b3-flags": "1" }, { sampled: true }],
  ["debug in one field", { b3: `${TRACE}-${SPAN}-d` }, { sampled: true }],
  ["a parent in one field", { b3: `${TRACE}-${SPAN}-0-${SPAN}` }, { parentSpanId: SPAN, sampled: false }],
  ["a decision alone", { "x-b3-sampled": "0" }, { sampled: false }],
])("B3: %s", (_, fields, expected) => {
  expect(b3.extract(headersOf(fields))).toMatchObject(expected as object);
});

test.each<Record<string, string>>([
  { b3: "x" },
  { b3: `${TRACE}-1` },
  { "x-b3-traceid": "1", "x-b3-spanid": SPAN },
  {},
])("B3: %j is nothing", (fields) => {
  expect(b3.extract(headersOf(fields))).toBeUndefined();
});
