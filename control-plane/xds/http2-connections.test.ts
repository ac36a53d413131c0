/** Connections of the xDS port that nothing happens on, by a client that speaks frames. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";

import { create, toBinary } from "@bufbuild/protobuf";
import { expect, test } from "vitest";

import { DeltaDiscoveryRequestSchema } from "#envoy/service/discovery/v3/discovery_pb.ts";

import {
  END_HEADERS,
  END_STREAM,
  DATA,
  fields,
  frame,
  framesOf,
  GOAWAY,
  HEADERS,
  PREFACE,
  RST_STREAM,
  SETTINGS,
} from "../../test/support/http2-frames.ts";
import { waitFor } from "../../test/support/wait.ts";
import { resource } from "../../test/support/xds-resources.ts";
import { startXdsRig, type XdsRig } from "../../test/support/xds-rig.ts";
import { messagePrefix } from "./grpc-messages.ts";

/** A connection whose client has said that it speaks HTTP/2, and then says what it is told to. */
async function open(
  { server }: XdsRig,
  { first = Buffer.alloc(0), ...options }: { readonly allowHalfOpen?: boolean; readonly first?: Buffer } = {},
): Promise<{ socket: Socket; received: () => string; closed: Promise<unknown> }> {
  const port = Number(server.address.split(":")[1]);
  const socket = connect({ port, host: "127.0.0.1", ...options });
  socket.on("error", () => {});
  await once(socket, "connect");
  let received = "";
  socket.on("data", (chunk: Buffer) => (received += chunk.toString("latin1")));
  socket.write(Buffer.concat([PREFACE, frame(SETTINGS, 0, 0), first]));
  return { socket, received: () => received, closed: new Promise((resolve) => socket.once("close", resolve)) };
}

const framesTo = (received: string, type: number) => framesOf(received).filter((each) => each.type === type);
const idle = ({ metrics }: XdsRig) => /sluice_xds_connections_idle_total (\d+)/.exec(metrics.text())?.[1];

const headers = (path: string) =>
  fields(
    [":method", "POST"],
    [":scheme", "http"],
    [":path", path],
    [":authority", "a.test"],
    ["content-type", "application/grpc"],
    ["te", "trailers"],
  );

/** Health.Check: as short as a call gets. */
const check = (streamId: number) =>
  Buffer.concat([
    frame(HEADERS, END_HEADERS, streamId, headers("/grpc.health.v1.Health/Check")),
    frame(DATA, END_STREAM, streamId, Buffer.alloc(5)),
  ]);

const DELTA = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";

test("a connection without a stream ends, one with a stream doesn't, however long it is quiet", async () => {
  // The quiet one's first words must get there in this time, whatever the machine does meanwhile.
  await using rig = await startXdsRig([], { limits: { firstRequestTimeoutMs: 3_000 } });
  const request = create(DeltaDiscoveryRequestSchema, { node: { id: "quiet" }, typeUrl: resource("CDS", "a").typeUrl });
  const bytes = toBinary(DeltaDiscoveryRequestSchema, request);
  const message = frame(DATA, 0, 1, Buffer.concat([messagePrefix(bytes.length), bytes]));
  const first = Buffer.concat([frame(HEADERS, END_HEADERS, 1, headers(DELTA)), message]);
  const quiet = await open(rig, { first });
  await waitFor("a node", () => rig.nodes.connectedNodes === 1);
  // Begins to wait after the other would have.
  await (await open(rig)).closed;
  expect(idle(rig)).toBe("1");
  expect(framesTo(quiet.received(), GOAWAY)).toEqual([]);
  expect(rig.nodes.connectedNodes).toBe(1);
  quiet.socket.destroy();
});

test("the end of an idle connection says which stream was served last", async () => {
  await using rig = await startXdsRig([], { limits: { connectionIdleMs: 50 } });
  const { closed, received, socket } = await open(rig);
  socket.write(check(1));
  await closed;
  // RFC 9113, 6.8: the last stream, and NO_ERROR.
  const goaway = framesTo(received(), GOAWAY)[0]?.payload;
  expect([goaway?.readUInt32BE(0), goaway?.readUInt32BE(4)]).toEqual([1, 0]);
});

test("a request that crosses with the end of an idle connection is not served, and its client can know", async () => {
  await using rig = await startXdsRig([], { limits: { connectionIdleMs: 50, keepaliveTimeoutMs: 600_000 } });
  const { socket, received, closed } = await open(rig, { allowHalfOpen: true });
  socket.write(check(1));
  await waitFor("the end of the connection", () => socket.readableEnded);
  socket.end(check(3));
  // Not by a reset, by which GOAWAY could be lost.
  expect(await closed).toBe(false);
  expect(framesTo(received(), GOAWAY)[0]?.payload.readUInt32BE(0)).toBe(1);
  expect(framesTo(received(), HEADERS).map(({ streamId }) => streamId)).not.toContain(3);
});

test("a client that never says a request is ended, and cut where it doesn't close its side", async () => {
  await using rig = await startXdsRig([], {
    limits: { firstRequestTimeoutMs: 50, keepaliveTimeMs: 600_000, keepaliveTimeoutMs: 50 },
  });
  const { socket, closed } = await open(rig, { allowHalfOpen: true });
  // A cut is noticed by who writes.
  const writing = setInterval(() => socket.write(frame(SETTINGS, 0, 0)), 20);
  await closed;
  clearInterval(writing);
  expect(idle(rig)).toBe("1");
});

test("after the last stream of a connection the wait begins anew", async () => {
  await using rig = await startXdsRig([], { limits: { connectionIdleMs: 50, firstRequestTimeoutMs: 600_000 } });
  const { socket, received, closed } = await open(rig);
  socket.write(Buffer.concat([check(1), check(3)]));
  await closed;
  const ended = framesTo(received(), HEADERS).filter(({ flags }) => flags & END_STREAM);
  expect(ended.map(({ streamId }) => streamId)).toEqual([1, 3]);
});

test("a client that cancels very many streams at once keeps the others of its connection", async () => {
  await using rig = await startXdsRig([]);
  const { socket, received } = await open(rig);
  const CANCEL = Buffer.from([0, 0, 0, 8]);
  const cancelled = Array.from({ length: 1_500 }, (_, at) => 2 * at + 1);
  for (const streamId of cancelled) socket.write(frame(HEADERS, END_HEADERS, streamId, headers(DELTA)));
  for (const streamId of cancelled) socket.write(frame(RST_STREAM, 0, streamId, CANCEL));
  socket.write(check(3_001));
  const answered = () =>
    framesTo(received(), HEADERS).some((each) => each.streamId === 3_001 && each.flags & END_STREAM);
  await waitFor("an answer, or the end", () => socket.destroyed || answered(), 60_000);
  expect(answered()).toBe(true);
  expect(framesTo(received(), GOAWAY)).toEqual([]);
  socket.destroy();
});

test("a server that ends cuts clients that don't close their side", async () => {
  const rig = await startXdsRig([]);
  const { socket, received } = await open(rig, { allowHalfOpen: true });
  socket.write(check(1));
  await waitFor("an answer", () => framesTo(received(), HEADERS).length === 2);
  await rig[Symbol.asyncDispose]();
  expect(framesTo(received(), GOAWAY)).not.toHaveLength(0);
});

test("a client that closes its side has gone, whatever it had open", async () => {
  await using rig = await startXdsRig([resource("CDS", "a")], { limits: { keepaliveTimeMs: 600_000 } });
  const { socket, closed } = await open(rig, { allowHalfOpen: true });
  socket.write(frame(HEADERS, END_HEADERS, 1, headers(DELTA)));
  await waitFor("a stream", () => rig.server.streams === 1);
  socket.end();
  await closed;
  await waitFor("no stream", () => rig.server.streams === 0);
});
