import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { expect, test } from "vitest";

import { Http2ProtocolOptionsSchema } from "#envoy/config/core/v3/protocol_pb.ts";

import { Place } from "../compile.ts";
import { compileHttp2Options, http2Defaults } from "./http2-options.ts";

function compile(init: MessageInitShape<typeof Http2ProtocolOptionsSchema>) {
  const place = Place.root();
  const options = compileHttp2Options(create(Http2ProtocolOptionsSchema, init), place.field("h2"));
  return { options, fields: place.problems.map(({ field }) => field) };
}

test("what is not set is as by default", () => {
  expect(compile({})).toEqual({ options: http2Defaults, fields: [] });
});

test("what is set holds", () => {
  const { options, fields } = compile({
    maxConcurrentStreams: 7,
    hpackTableSize: 0,
    initialStreamWindowSize: 70_000,
    initialConnectionWindowSize: 80_000,
    allowConnect: true,
    connectionKeepalive: { interval: { seconds: 30n }, timeout: { seconds: 5n } },
    overrideStreamErrorOnInvalidHttpMessage: true,
  });
  expect(fields).toEqual([]);
  expect(options).toEqual({
    maxConcurrentStreams: 7,
    hpackTableSize: 0,
    initialStreamWindowSize: 70_000,
    initialConnectionWindowSize: 80_000,
    keepalive: { intervalMs: 30_000, timeoutMs: 5_000 },
    malformedEndsConnection: false,
  });
});

test("what is not supported or out of range is refused by its field", () => {
  expect(
    compile({
      allowMetadata: true,
      hpackTableSize: 65_537,
      maxOutboundFrames: 1,
      maxOutboundControlFrames: 1,
      maxConsecutiveInboundFramesWithEmptyPayload: 1,
      maxInboundPriorityFramesPerStream: 1,
      maxInboundWindowUpdateFramesPerDataFrameSent: 1,
      customSettingsParameters: [{ identifier: 9, value: 1 }],
      connectionKeepalive: { connectionIdleInterval: { seconds: 1n }, intervalJitter: { value: 1 } },
    }).fields.toSorted(),
  ).toEqual([
    "h2.allow_metadata",
    "h2.connection_keepalive.connection_idle_interval",
    "h2.connection_keepalive.interval_jitter",
    "h2.connection_keepalive.timeout",
    "h2.custom_settings_parameters",
    "h2.hpack_table_size",
    "h2.max_consecutive_inbound_frames_with_empty_payload",
    "h2.max_inbound_priority_frames_per_stream",
    "h2.max_inbound_window_update_frames_per_data_frame_sent",
    "h2.max_outbound_control_frames",
    "h2.max_outbound_frames",
  ]);
});
