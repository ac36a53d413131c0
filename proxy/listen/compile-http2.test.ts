import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { expect, test } from "vitest";

import { Http2ProtocolOptionsSchema } from "#envoy/config/core/v3/protocol_pb.ts";

import { Place } from "../compile.ts";
import { edgeDefaults } from "../http2/options.ts";
import { compileHttp2Options } from "./compile-http2.ts";

function compile(init?: MessageInitShape<typeof Http2ProtocolOptionsSchema>) {
  const place = Place.root();
  const options = compileHttp2Options(init && create(Http2ProtocolOptionsSchema, init), place.field("h2"));
  return { options, fields: place.problems.map(({ field }) => field) };
}

test("what is not set is as for an edge proxy", () => {
  expect(compile().options).toEqual(edgeDefaults);
  expect(compile({})).toEqual({ options: edgeDefaults, fields: [] });
});

test("what is set holds", () => {
  const { options, fields } = compile({
    maxConcurrentStreams: 7,
    hpackTableSize: 0,
    initialStreamWindowSize: 70_000,
    initialConnectionWindowSize: 80_000,
    allowConnect: true,
    connectionKeepalive: { interval: { seconds: 30n }, timeout: { seconds: 5n } },
    overrideStreamErrorOnInvalidHttpMessage: false,
  });
  expect(fields).toEqual([]);
  expect(options).toEqual({
    maxConcurrentStreams: 7,
    hpackTableBytes: 0,
    streamWindowBytes: 70_000,
    connectionWindowBytes: 80_000,
    allowConnect: true,
    keepaliveIntervalMs: 30_000,
    keepaliveTimeoutMs: 5_000,
    malformedEndsConnection: true,
  });
});

test("what is out of range is refused by its field", () => {
  expect(
    compile({
      maxConcurrentStreams: 0,
      hpackTableSize: 1_000_000,
      initialStreamWindowSize: 1,
      initialConnectionWindowSize: 2 ** 31,
      connectionKeepalive: { interval: { seconds: 1n } },
    }).fields.toSorted(),
  ).toEqual([
    "h2.connection_keepalive.timeout",
    "h2.hpack_table_size",
    "h2.initial_connection_window_size",
    "h2.initial_stream_window_size",
    "h2.max_concurrent_streams",
  ]);
});
