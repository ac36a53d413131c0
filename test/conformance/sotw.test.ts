/** State-of-the-world ADS as a stranger meets it: full states, wildcards, nonces, refusals, reconnects. */
import { fromBinary } from "@bufbuild/protobuf";
import { BinaryReader } from "@bufbuild/protobuf/wire";
import { afterAll, beforeAll, expect, test } from "vitest";

import { ResourceNameSchema } from "#envoy/service/discovery/v3/discovery_pb.ts";
import { StatusSchema } from "#google/rpc/status_pb.ts";
import { servedType } from "#proto/resource-types.ts";

import { nameOf } from "../support/xds-client.ts";
import { clusterOf, type Running, service, startRunning } from "./running.ts";

const CDS = servedType("CDS").typeUrl;
const EDS = servedType("EDS").typeUrl;
const RTDS = servedType("RTDS").typeUrl;

let running: Running;
beforeAll(async () => {
  running = await startRunning(["a", "b"]);
});
afterAll(() => running[Symbol.asyncDispose]());

type Response = Awaited<ReturnType<ReturnType<Running["sotw"]>["next"]>>;
const names = ({ typeUrl, resources }: Response) => resources.map(({ value }) => nameOf(typeUrl, value)).sort();

/** Leaves the two services as the next test wants them, and waits until they are served. */
async function asBefore(): Promise<void> {
  await running.apply([service("a"), service("b")], true);
  const client = running.delta();
  client.send({ typeUrl: CDS });
  await client.until(() => [...client.held(CDS).keys()].sort().join() === [clusterOf("a"), clusterOf("b")].join());
  client.close();
}

/** Asks for something that is answered at once; whatever comes before the answer was an answer to what was sent before. */
async function flush(client: ReturnType<Running["sotw"]>, layer: string): Promise<string[]> {
  const from = client.responses.length;
  client.subscribe(RTDS, [layer]);
  await client.until(() => client.responses.slice(from).some(({ typeUrl }) => typeUrl === RTDS));
  return client.responses.slice(from).flatMap((each) => (each.typeUrl === RTDS ? [] : [each.typeUrl]));
}

test("S1 S2 S18 each response has a version, a nonce of its own and one type; an acceptance gets no answer (S7)", async () => {
  const client = running.sotw();
  client.subscribe(CDS);
  client.subscribe(EDS, [clusterOf("a"), clusterOf("b")]);
  await client.until(() => client.responses.length >= 2);
  expect(new Set(client.responses.map(({ nonce }) => nonce)).size).toBe(client.responses.length);
  for (const { typeUrl, versionInfo, nonce, resources } of client.responses) {
    expect([versionInfo, nonce]).not.toContain("");
    for (const any of resources) expect(any.typeUrl).toBe(typeUrl);
  }
  await flush(client, "one");
  expect(await flush(client, "two")).toEqual([]);
});

test("S3 S7 a refusal at the version that was sent is a refusal: the set is held back until it changes", async () => {
  let refuse = true;
  const client = running.sotw({ answer: ({ typeUrl }) => (refuse && typeUrl === CDS ? "none" : "ack") });
  client.subscribe(CDS);
  const { nonce, versionInfo } = await client.next();
  refuse = false;
  for (let again = 0; again < 20; again++) {
    client.send({ typeUrl: CDS, responseNonce: nonce, versionInfo, errorDetail: { code: 3, message: "no" } });
  }
  await flush(client, "one");
  expect(await flush(client, "two")).toEqual([]);
  await running.apply([service("c")]);
  await client.until(() => client.held(CDS).has(clusterOf("c")));
  await asBefore();
});

test("S10 S11 S13 S9 the wildcard, a name besides, the name alone, nothing", async () => {
  const client = running.sotw();
  const [a, b] = [clusterOf("a"), clusterOf("b")];
  client.subscribe(CDS, ["*", a]);
  expect(names(await client.next())).toEqual([a, b]);
  client.subscribe(CDS, [a]);
  client.subscribe(CDS, [b]);
  await client.until(() => client.held(CDS).size === 1 && client.held(CDS).has(b));
  client.subscribe(CDS, []);
  await flush(client, "one");
  await running.apply([service("a", 3)]);
  await running.apply([service("a")]);
  expect(await flush(client, "two")).toEqual([]);
});

test("S5 S6 a subscription with an old nonce counts, and is answered once; one without a nonce is a new one", async () => {
  const answers: ("ack" | "none")[] = ["none"];
  const client = running.sotw({ answer: () => answers.shift() ?? "ack" });
  const [a, b] = [clusterOf("a"), clusterOf("b")];
  client.send({ typeUrl: EDS, resourceNames: [a] });
  const first = await client.next();
  client.send({ typeUrl: EDS, resourceNames: [a, b], responseNonce: "old" });
  client.send({ typeUrl: EDS, resourceNames: [a, b], responseNonce: first.nonce, versionInfo: first.versionInfo });
  expect(names(await client.next())).toEqual([b]);
  client.send({ typeUrl: EDS, resourceNames: [a, b] });
  expect(names(await client.next())).toEqual([a, b]);
});

test.each([CDS, EDS])("S9 S11 S16 who goes over from names to everything is sent everything: %s", async (typeUrl) => {
  const [a, b] = [clusterOf("a"), clusterOf("b")];
  const client = running.sotw();
  client.subscribe(typeUrl, [a]);
  const part = await client.next();
  expect(names(part)).toEqual([a]);
  // With the version of the part, as an acceptance has it.
  client.subscribe(typeUrl, ["*"]);
  expect(names(await client.next())).toEqual([a, b]);
  // On another stream the version of a part is not taken for that of the whole either.
  const again = running.sotw();
  again.send({ typeUrl, resourceNames: ["*"], versionInfo: part.versionInfo });
  expect(names(await again.next())).toEqual([a, b]);
});

test("S14 S15 a name that is listed twice comes once, and one that doesn't exist comes when it does", async () => {
  const client = running.sotw();
  const [a, d] = [clusterOf("a"), clusterOf("d")];
  client.subscribe(EDS, [a, a, d]);
  expect(names(await client.next())).toEqual([a]);
  await running.apply([service("d")]);
  expect(names(await client.next())).toEqual([d]);
  await asBefore();
});

test("S16 who comes back with the version of everything is sent nothing; who names resources is sent them again", async () => {
  const client = running.sotw();
  client.subscribe(CDS);
  const { versionInfo } = await client.next();
  client.close();
  const again = running.sotw();
  again.send({ typeUrl: CDS, versionInfo });
  await flush(again, "one");
  expect(await flush(again, "two")).toEqual([]);
  expect(again.responses.map(({ typeUrl }) => typeUrl)).not.toContain(CDS);
  const named = running.sotw();
  named.send({ typeUrl: CDS, versionInfo, resourceNames: [clusterOf("a")] });
  expect(names(await named.next())).toEqual([clusterOf("a")]);
});

test("S12 an empty request of a gRPC client after a broken stream is no wildcard", async () => {
  const client = running.sotw({ node: { id: "g", cluster: "default", userAgentName: "gRPC Go" } });
  client.subscribe(CDS);
  await flush(client, "one");
  expect(await flush(client, "two")).toEqual([]);
  expect(client.responses.map(({ typeUrl }) => typeUrl)).not.toContain(CDS);
});

/** The names and codes in `resource_errors`, which this copy of the API does not have: field 7 of a DiscoveryResponse (TP3). */
function errorsIn({ $unknown = [] }: Response): [string, number][] {
  return $unknown.flatMap(({ no, data }) => {
    if (no !== 7) return [];
    const fields = fieldsOf(new BinaryReader(data).bytes());
    const code = fromBinary(StatusSchema, fields.get(2) ?? new Uint8Array()).code;
    return [[fromBinary(ResourceNameSchema, fields.get(1) ?? new Uint8Array()).name, code]];
  });
}

/** The fields of a message, all of which are messages themselves. */
function fieldsOf(bytes: Uint8Array): Map<number, Uint8Array> {
  const reader = new BinaryReader(bytes);
  const fields = new Map<number, Uint8Array>();
  while (reader.pos < reader.len) fields.set(reader.tag()[0], reader.bytes());
  return fields;
}

test("X4 a gRPC client is told once that a name doesn't exist, and that a resource is gone; others as before", async () => {
  const NOT_FOUND = 5;
  const client = running.sotw({ node: { id: "g", cluster: "default", userAgentName: "gRPC C-core" } });
  const [a, x] = [clusterOf("a"), clusterOf("x")];
  client.subscribe(EDS, [a, x]);
  const first = await client.next();
  expect([names(first), errorsIn(first)]).toEqual([[a], [[x, NOT_FOUND]]]);
  await running.apply([service("x")]);
  const second = await client.next();
  expect([names(second), errorsIn(second)]).toEqual([[x], []]);
  await running.apply([service("a"), service("b")], true);
  const third = await client.next();
  expect([names(third), errorsIn(third)]).toEqual([[], [[x, NOT_FOUND]]]);
  await flush(client, "one");
  expect(await flush(client, "two")).toEqual([]);
  const envoy = running.sotw({ node: { id: "e", cluster: "default", userAgentName: "envoy" } });
  envoy.subscribe(EDS, [x]);
  await flush(envoy, "one");
  expect(await flush(envoy, "two")).toEqual([]);
  await asBefore();
});

test("H1 a client that knows TTLs gets none: what is configured stays until it is changed", async () => {
  const clientFeatures = ["xds.config.supports-resource-ttl", "xds.config.supports-resource-in-sotw"];
  const streamed = running.sotw();
  streamed.send({ typeUrl: CDS, node: { id: "ttl", cluster: "default", clientFeatures } });
  for (const { typeUrl } of (await streamed.next()).resources) expect(typeUrl).toBe(CDS);
  const incremental = running.delta();
  incremental.send({ typeUrl: CDS, node: { id: "ttl", cluster: "default", clientFeatures } });
  for (const { ttl, resource } of (await incremental.next()).resources) {
    expect(ttl).toBeUndefined();
    expect(resource).toBeDefined();
  }
});
