import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";

import { HTTPAccessLogEntrySchema } from "#envoy/data/accesslog/v3/accesslog_pb.ts";

import { httpLine } from "./access-log-line.ts";

test("a line is one line of printable text, whatever a client says", () => {
  const said = "a\n\u0085\u009b2J\u2028\u2029\u00e9";
  const source = { gateway_group: "g", node_id: "n", log_name: "l" };
  const written = httpLine(source, create(HTTPAccessLogEntrySchema, { request: { userAgent: said } }));
  expect(written).toContain('"a\\n\\u0085\\u009b2J\\u2028\\u2029\u00e9"');
  expect(JSON.parse(written)).toEqual({ ...source, type: "http", request: { user_agent: said } });
});
