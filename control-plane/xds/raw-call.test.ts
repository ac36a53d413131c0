/** The gRPC of discovery streams, spoken by a client that knows nothing but HTTP/2 (gRPC over HTTP2). */
import { once } from "node:events";
import { connect as connectTcp } from "node:net";
import { type ClientHttp2Session, connect, type IncomingHttpHeaders, type OutgoingHttpHeaders } from "node:http2";

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { status } from "@grpc/grpc-js";
import { expect, test } from "vitest";

import {
  type DeltaDiscoveryResponse,
  DeltaDiscoveryResponseSchema,
  DeltaDiscoveryRequestSchema,
} from "#envoy/service/discovery/v3/discovery_pb.ts";

import { resource, typeUrlOf } from "../../test/support/xds-resources.ts";
import { waitFor } from "../../test/support/wait.ts";
import { startXdsRig, type XdsRig } from "../../test/support/xds-rig.ts";
import { MessageReader, messagePrefix } from "./grpc-messages.ts";

const path = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
const CDS = typeUrlOf("CDS");
const CLUSTERS = "envoy.service.cluster.v3.ClusterDiscoveryService/DeltaClusters";

const request = (id = "n1") =>
  toBinary(
    DeltaDiscoveryRequestSchema,
    create(DeltaDiscoveryRequestSchema, { node: { id }, typeUrl: CDS, resourceNamesSubscribe: ["*"] }),
  );
const framed = (bytes: Uint8Array) => Buffer.concat([messagePrefix(bytes.length), bytes]);

/** A connection of its own with one call on it. */
async function call(rig: XdsRig, headers: OutgoingHttpHeaders = {}) {
  const session: ClientHttp2Session = connect(`http://${rig.server.address}`);
  await once(session, "connect");
  const stream = session.request({
    ...{ ":method": "POST", ":path": path, "content-type": "application/grpc", te: "trailers" },
    ...headers,
  });
  const responses: DeltaDiscoveryResponse[] = [];
  const reader = new MessageReader(64 * 1024 * 1024);
  let wake = () => {};
  stream.on("data", (piece: Buffer) => {
    for (const { bytes } of reader.read(piece)) responses.push(fromBinary(DeltaDiscoveryResponseSchema, bytes));
    wake();
  });
  let head: IncomingHttpHeaders = {};
  const ended = new Promise<IncomingHttpHeaders>((resolve) => {
    let trailers: IncomingHttpHeaders = {};
    stream.on("response", (received) => (head = received));
    stream.on("trailers", (received) => (trailers = received));
    stream.on("end", () => resolve({ ...head, ...trailers }));
  });
  return {
    stream,
    responses,
    /** The status and whatever else the end of the call says. */
    ended,
    async response(at: number): Promise<DeltaDiscoveryResponse> {
      for (;;) {
        const found = responses[at];
        if (found !== undefined) return found;
        await new Promise<void>((resolve) => (wake = resolve));
      }
    },
    [Symbol.asyncDispose]: async () => {
      session.destroy();
      await Promise.resolve();
    },
  };
}

test("a request that comes byte by byte, and two that come as one piece", async () => {
  await using rig = await startXdsRig([resource("CDS", "a")]);
  await using client = await call(rig);
  for (const byte of framed(request())) client.stream.write(Buffer.from([byte]));
  const { nonce } = await client.response(0);
  const accept = toBinary(
    DeltaDiscoveryRequestSchema,
    create(DeltaDiscoveryRequestSchema, { typeUrl: CDS, responseNonce: nonce }),
  );
  const more = toBinary(
    DeltaDiscoveryRequestSchema,
    create(DeltaDiscoveryRequestSchema, { typeUrl: CDS, resourceNamesSubscribe: ["a"] }),
  );
  client.stream.write(Buffer.concat([framed(accept), framed(more)]));
  expect((await client.response(1)).resources.map(({ name }) => name)).toEqual(["a"]);
});

test("a response that is written in pieces arrives whole", async () => {
  const names = Array.from({ length: 3_000 }, (_, at) => `cluster-${at}`);
  await using rig = await startXdsRig(names.map((name) => resource("CDS", name)));
  await using one = await call(rig);
  await using other = await call(rig);
  one.stream.write(framed(request("n1")));
  other.stream.write(framed(request("n2")));
  for (const client of [one, other]) {
    expect((await client.response(0)).resources.map(({ name }) => name)).toEqual(names);
  }
});

test("a client that goes while a response waits for its window takes nothing with it", async () => {
  const names = Array.from({ length: 3_000 }, (_, at) => `cluster-${at}`);
  await using rig = await startXdsRig(names.map((name) => resource("CDS", name)));
  await using one = await call(rig);
  // As large a response as this doesn't fit into a window of 64 KiB, which grows as the client reads.
  one.stream.pause();
  one.stream.write(framed(request("n1")));
  await waitFor("a node", () => rig.nodes.connectedNodes === 1);
  await waitFor("a response", () => rig.nodes.list()[0]?.types[0]?.pending === true);
  one.stream.destroy();
  await waitFor("nobody", () => rig.nodes.connectedNodes === 0);
  await using other = await call(rig);
  other.stream.write(framed(request("n2")));
  expect((await other.response(0)).resources).toHaveLength(names.length);
});

test("a client that says no more is sent what it has asked for, and then OK", async () => {
  await using rig = await startXdsRig([resource("CDS", "a")]);
  await using client = await call(rig);
  client.stream.end(framed(request()));
  expect((await client.response(0)).resources).toHaveLength(1);
  expect(await client.ended).toMatchObject({ ":status": 200, "grpc-status": `${status.OK}` });
});

test("a compressed message is not taken, and the client is told what is", async () => {
  await using rig = await startXdsRig([]);
  await using client = await call(rig, { "grpc-encoding": "gzip" });
  const message = framed(request());
  message[0] = 1;
  client.stream.write(message);
  expect(await client.ended).toMatchObject({
    "grpc-status": `${status.UNIMPLEMENTED}`,
    "grpc-accept-encoding": "identity",
  });
});

test("a message that is too large ends the call, and the data plane with it", async () => {
  await using rig = await startXdsRig([resource("CDS", "a")], { limits: { requestBytesMax: 1_000 } });
  await using client = await call(rig);
  client.stream.write(framed(request()));
  await client.response(0);
  expect(rig.nodes.connectedNodes).toBe(1);
  client.stream.write(messagePrefix(1_001));
  expect(await client.ended).toMatchObject({
    "grpc-status": `${status.RESOURCE_EXHAUSTED}`,
    "grpc-message": "a message of 1001 bytes is larger than 1000",
  });
  await waitFor("nobody", () => rig.nodes.connectedNodes === 0);
});

test("a connection beyond what there may be is closed as it comes, and counted", async () => {
  await using rig = await startXdsRig([resource("CDS", "a")], { limits: { connectionsMax: 1 } });
  await using client = await call(rig);
  client.stream.write(framed(request()));
  await client.response(0);
  const [host, port] = rig.server.address.split(":");
  const socket = connectTcp(Number(port), host);
  socket.on("error", () => {});
  await once(socket, "close");
  expect(rig.metrics.text()).toContain("sluice_xds_connections_refused_total 1");
  client.stream.end();
  expect(await client.ended).toMatchObject({ "grpc-status": `${status.OK}` });
});

test("half messages of many calls together have a bound, and small ones are taken all the same", async () => {
  const limits = { requestBytesMax: 1_000_000, incomingBytesMax: 250_000 };
  await using rig = await startXdsRig([resource("CDS", "a")], { limits });
  const half = Buffer.concat([messagePrefix(1_000_000), Buffer.alloc(200_000)]);
  await using first = await call(rig);
  await using second = await call(rig);
  await using small = await call(rig);
  first.stream.write(half);
  second.stream.write(half);
  const refused = await Promise.race([first.ended.then(() => first), second.ended.then(() => second)]);
  expect(await refused.ended).toMatchObject({ "grpc-status": `${status.RESOURCE_EXHAUSTED}` });
  small.stream.write(framed(request()));
  await small.response(0);
  // What was held is given back with the calls.
  const left = refused === first ? second : first;
  left.stream.end();
  expect(await left.ended).toMatchObject({ "grpc-status": `${status.INVALID_ARGUMENT}` });
  for (let again = 0; again < 5; again++) {
    await using client = await call(rig);
    client.stream.end(half.subarray(0, 150_000));
    expect(await client.ended).toMatchObject({ "grpc-status": `${status.INVALID_ARGUMENT}` });
  }
});

test("a message that the client's end cuts short is told, and a status message is readable", async () => {
  await using rig = await startXdsRig([]);
  await using client = await call(rig);
  client.stream.end(framed(request()).subarray(0, 9));
  expect(await client.ended).toMatchObject({
    "grpc-status": `${status.INVALID_ARGUMENT}`,
    "grpc-message": "the last message is cut short",
  });
  await using separate = await call(rig, { ":path": `/${CLUSTERS}` });
  const wrong = create(DeltaDiscoveryRequestSchema, { node: { id: "n" }, typeUrl: typeUrlOf("EDS") });
  separate.stream.write(framed(toBinary(DeltaDiscoveryRequestSchema, wrong)));
  expect(await separate.ended).toMatchObject({ "grpc-message": expect.stringContaining(`serves ${CDS} only`) });
});

test.each([0, 1])("a call that was ended, after %i responses, is over though its client goes on", async (responses) => {
  await using rig = await startXdsRig([resource("CDS", "a")]);
  await using client = await call(rig);
  const closed = once(client.stream, "close");
  if (responses > 0) {
    client.stream.write(framed(request()));
    await client.response(0);
  }
  client.stream.write(framed(Buffer.from("ff", "hex")));
  expect(await client.ended).toMatchObject({ "grpc-status": `${status.INVALID_ARGUMENT}` });
  await closed;
  expect(client.stream.rstCode).toBe(0);
});

test("the client's deadline ends the call", async () => {
  await using rig = await startXdsRig([resource("CDS", "a")]);
  await using client = await call(rig, { "grpc-timeout": "20m" });
  client.stream.write(framed(request()));
  expect(await client.ended).toMatchObject({ "grpc-status": `${status.DEADLINE_EXCEEDED}` });
  await waitFor("nobody", () => rig.nodes.connectedNodes === 0);
});
