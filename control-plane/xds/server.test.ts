/** Whole streams, over the wire: first sync, change, removal, refusal, reconnect, misuse. */
import { createHash } from "node:crypto";

import { status } from "@grpc/grpc-js";
import { expect, test } from "vitest";

import { waitFor } from "../../test/support/wait.ts";
import { resource, typeUrlOf } from "../../test/support/xds-resources.ts";
import { startXdsRig } from "../../test/support/xds-rig.ts";
import { JoinGuard } from "./join.ts";

const CDS = typeUrlOf("CDS");
const EDS = typeUrlOf("EDS");
const LDS = typeUrlOf("LDS");
const RDS = typeUrlOf("RDS");

/** How a stream ended. */
const reason = (ended: { code: status; details: string } | "ok") =>
  ended === "ok" ? "ok" : `${status[ended.code]}: ${ended.details}`;

test("delta: first sync, change and removal", async () => {
  await using rig = await startXdsRig([resource("CDS", "a"), resource("CDS", "b")]);
  const client = rig.delta();
  client.send({ typeUrl: CDS });
  const first = await client.next();
  expect(first.typeUrl).toBe(CDS);
  expect(first.resources.map(({ name }) => name).sort()).toEqual(["a", "b"]);
  for (const { resource: any } of first.resources) expect(any?.typeUrl).toBe(CDS); // S18
  rig.change(resource("CDS", "a", "2"), resource("CDS", "b", null));
  const second = await client.next();
  expect(second.resources.map(({ name }) => name)).toEqual(["a"]);
  expect(second.resources[0]?.resource?.value).toEqual(Buffer.from(resource("CDS", "a", "2").bytes ?? []));
  expect(second.removedResources).toEqual(["b"]);
  await rig.nodesAre(([node]) => node?.state === "synced");
});

test("state of the world: first sync, change and removal", async () => {
  await using rig = await startXdsRig([resource("CDS", "a"), resource("CDS", "b"), resource("EDS", "a")]);
  const client = rig.sotw();
  client.subscribe(CDS);
  await client.until(() => client.held(CDS).size === 2);
  client.subscribe(EDS, ["a"]);
  await client.until(() => client.held(EDS).size === 1);
  rig.change(resource("CDS", "b", null), resource("EDS", "a", "2"));
  await client.until(() => client.held(CDS).size === 1);
  const bytes = Buffer.from(resource("EDS", "a", "2").bytes ?? []);
  await client.until(() => bytes.equals(client.held(EDS).get("a") ?? new Uint8Array()));
  for (const { nonce, versionInfo } of client.responses) {
    expect(nonce).not.toBe("");
    expect(versionInfo).toMatch(/^[0-9a-f]{16}$/); // S1
  }
  expect(new Set(client.responses.map(({ nonce }) => nonce)).size).toBe(client.responses.length);
});

test.each([
  ["id", { id: "two", cluster: "default" }],
  ["cluster", { id: "one", cluster: "other" }],
])("T1 the node is kept from the first request, and may not change its %s", async (_, node) => {
  await using rig = await startXdsRig([resource("CDS", "a"), resource("EDS", "a")]);
  const client = rig.delta({ node: { id: "one", cluster: "default" } });
  client.send({ typeUrl: CDS });
  await client.next();
  client.send({ typeUrl: EDS, resourceNamesSubscribe: ["a"] }); // Without a node.
  await client.next();
  client.send({ typeUrl: CDS, node: node as never });
  expect(reason(await client.end())).toMatch(/^INVALID_ARGUMENT: node\.id/);
});

test.each([
  ["no node", { id: "", cluster: "default" }, /node\.id is empty/],
  ["control characters", { id: "a\nb", cluster: "default" }, /control characters/],
  ["a long id", { id: "a".repeat(2000), cluster: "default" }, /longer than 1024/],
])("T1 a node is refused: %s", async (_, node, expected) => {
  await using rig = await startXdsRig([]);
  const client = rig.delta({ node });
  client.send({ typeUrl: CDS });
  expect(reason(await client.end())).toMatch(expected);
});

test("T2 a request without a type, or of another type on a separate service, ends the stream", async () => {
  await using rig = await startXdsRig([resource("CDS", "a")]);
  const untyped = rig.delta();
  untyped.send({});
  expect(reason(await untyped.end())).toMatch(/^INVALID_ARGUMENT: .*type_url/);
  const separate = { method: "/envoy.service.cluster.v3.ClusterDiscoveryService/DeltaClusters" };
  const wrong = rig.delta(separate);
  wrong.send({ typeUrl: LDS });
  expect(reason(await wrong.end())).toMatch(/^INVALID_ARGUMENT: .*Cluster only/);
  const implied = rig.delta(separate);
  implied.send({});
  expect((await implied.next()).typeUrl).toBe(CDS);
});

test("T3 a refusal of one type is none of another's business", async () => {
  await using rig = await startXdsRig([resource("CDS", "a"), resource("RDS", "r")]);
  const client = rig.delta({ answer: ({ typeUrl }) => (typeUrl === RDS ? { refuse: "bad" } : "ack") });
  client.send({ typeUrl: RDS, resourceNamesSubscribe: ["r"] });
  client.send({ typeUrl: CDS });
  await client.until(() => client.held(CDS).size === 1);
  const [node] = await rig.nodesAre(([each]) => each?.state === "nacked");
  expect(node?.types.map(({ typeUrl, nack }) => [typeUrl, nack])).toEqual([
    [CDS, ""],
    [RDS, "bad"],
  ]);
});

test("T4 an unknown type is no one's end, and shows in the status", async () => {
  await using rig = await startXdsRig([resource("CDS", "a")]);
  const client = rig.delta();
  client.send({ typeUrl: "type.googleapis.com/unknown.Type" });
  client.send({ typeUrl: CDS });
  expect((await client.next()).typeUrl).toBe(CDS);
  expect(rig.nodes.list()[0]?.problems).toEqual([
    "asked for the unknown resource type type.googleapis.com/unknown.Type",
  ]);
});

test.each([
  ["cluster.v3.ClusterDiscoveryService", "Clusters", CDS],
  ["endpoint.v3.EndpointDiscoveryService", "Endpoints", EDS],
  ["listener.v3.ListenerDiscoveryService", "Listeners", LDS],
  ["route.v3.RouteDiscoveryService", "Routes", RDS],
  ["secret.v3.SecretDiscoveryService", "Secrets", typeUrlOf("SDS")],
])("T6 the separate service %s", async (service, noun, typeUrl) => {
  const types = ["CDS", "EDS", "SDS", "LDS", "RDS"] as const;
  await using rig = await startXdsRig(types.map((type) => resource(type, "a")));
  const delta = rig.delta({ method: `/envoy.service.${service}/Delta${noun}` });
  delta.send({ typeUrl, resourceNamesSubscribe: ["a"] });
  expect((await delta.next()).resources.map(({ name }) => name)).toEqual(["a"]);
  const sotw = rig.sotw({ method: `/envoy.service.${service}/Stream${noun}` });
  sotw.subscribe(typeUrl, ["a"]);
  expect((await sotw.next()).typeUrl).toBe(typeUrl);
});

test("D9 a delta client that reconnects receives only what changed meanwhile", async () => {
  await using rig = await startXdsRig([resource("CDS", "a"), resource("CDS", "b"), resource("CDS", "c")]);
  const client = rig.delta();
  client.send({ typeUrl: CDS });
  await client.next();
  const initialResourceVersions = client.heldVersions(CDS);
  client.close();
  rig.change(resource("CDS", "b", "2"), resource("CDS", "c", null), resource("CDS", "d"));
  const again = rig.delta();
  again.send({ typeUrl: CDS, initialResourceVersions });
  const { resources, removedResources } = await again.next();
  expect(resources.map(({ name }) => name).sort()).toEqual(["b", "d"]);
  expect(removedResources).toEqual(["c"]);
});

test("D9 a client that holds all that it names is synced without a response", async () => {
  await using rig = await startXdsRig([resource("EDS", "a")]);
  const version = rig.cache.resources("default", EDS)?.get("a")?.version ?? "";
  const client = rig.delta();
  client.send({ typeUrl: EDS, resourceNamesSubscribe: ["a"], initialResourceVersions: { a: version } });
  const [node] = await rig.nodesAre(([each]) => each?.state === "synced");
  expect(node?.types[0]).toMatchObject({ resources: 1, missing: [] });
  expect(client.responses).toEqual([]);
  rig.change(resource("EDS", "a", "2"));
  expect((await client.next()).resources.map(({ name }) => name)).toEqual(["a"]);
});

test("lesson 14: nothing is served before the first fill is complete", async () => {
  await using rig = await startXdsRig([resource("CDS", "a")], { ready: false });
  const client = rig.delta();
  client.send({ typeUrl: CDS, initialResourceVersions: { b: "1" } });
  await rig.nodesAre(([node]) => node?.types.length === 1);
  rig.change(resource("CDS", "b"));
  expect(client.responses).toEqual([]);
  rig.cache.markReady();
  const { resources, removedResources } = await client.next();
  expect(resources.map(({ name }) => name).sort()).toEqual(["a", "b"]);
  expect(removedResources).toEqual([]);
});

test("who can join no gateway group takes no place from those who can, nor is anything of it read", async () => {
  const join = new JoinGuard(true);
  join.setTokens(new Map([["default", [createHash("sha256").update("t").digest()]]]));
  await using rig = await startXdsRig([resource("CDS", "a")], { join, limits: { streamsMax: 1 } });
  // They say nothing, and would be waited for.
  const strangers = [rig.delta(), rig.delta({ metadata: { authorization: "Bearer wrong" } })];
  const [none, wrong] = await Promise.all(strangers.map((stranger) => stranger.end()));
  expect(none && reason(none)).toMatch(/^UNAUTHENTICATED: this takes a join token/);
  expect(wrong && reason(wrong)).toBe("PERMISSION_DENIED: the join token is not for any gateway group");
  const member = rig.delta({ metadata: { authorization: "Bearer t" } });
  member.send({ typeUrl: CDS });
  expect((await member.next()).resources.map(({ name }) => name)).toEqual(["a"]);
});

test("a node of an unknown group waits, shows so, and is served when the group comes", async () => {
  await using rig = await startXdsRig([]);
  const client = rig.delta({ node: { id: "n", cluster: "later" } });
  client.send({ typeUrl: CDS });
  const [node] = await rig.nodesAre(([each]) => each?.types.length === 1);
  expect(node?.state).toBe("unknown_group");
  expect(node?.problems).toEqual(['the gateway group "later" doesn\'t exist']);
  rig.cache.update("later", [resource("CDS", "a")]);
  await client.until(() => client.held(CDS).has("a"));
  await rig.nodesAre(([each]) => each?.state === "synced");
  // A group that goes takes nothing away; when it comes back, the difference is sent.
  rig.cache.removeGroup("later");
  await rig.nodesAre(([each]) => each?.state === "unknown_group");
  expect(client.held(CDS).has("a")).toBe(true);
  rig.cache.update("later", [resource("CDS", "b")]);
  await client.until(() => client.held(CDS).has("b") && !client.held(CDS).has("a"));
});

test("a refusal shows in the status until something else is accepted", async () => {
  await using rig = await startXdsRig([resource("LDS", "l")]);
  let refuse = true;
  const client = rig.delta({ answer: () => (refuse ? { refuse: "no such filter" } : "ack") });
  client.send({ typeUrl: LDS });
  const [node] = await rig.nodesAre(([each]) => each?.state === "nacked");
  expect(node?.types[0]).toMatchObject({ nack: "no such filter", acceptedVersion: "", resources: 1, pending: false });
  expect(node?.types[0]?.lastNackTimeMs).toBeGreaterThan(0);
  refuse = false;
  rig.change(resource("LDS", "l", "2"));
  const [synced] = await rig.nodesAre(([each]) => each?.state === "synced");
  expect(synced?.types[0]?.acceptedVersion).toBe(synced?.types[0]?.sentVersion);
  expect(rig.metrics.text()).toContain('sluice_xds_nacks_total{type="LDS"} 1');
});

test("random bytes end the stream with a reason", async () => {
  await using rig = await startXdsRig([]);
  const client = rig.delta();
  client.sendRaw(Buffer.from("ffffffffff", "hex"));
  expect(reason(await client.end())).toMatch(/^INVALID_ARGUMENT: the request is no delta/);
});

test("limits: names, their length, streams of a node and of all", async () => {
  const limits = { namesMax: 10, nameLengthMax: 20, streamsPerNodeMax: 2, streamsMax: 3 };
  await using rig = await startXdsRig([resource("CDS", "a")], { limits });
  const many = rig.delta();
  many.send({ typeUrl: EDS, resourceNamesSubscribe: Array.from({ length: 11 }, (_, at) => `${at}`) });
  expect(reason(await many.end())).toMatch(/^RESOURCE_EXHAUSTED: more than 10 names/);
  const slowly = rig.delta();
  for (const from of [0, 6]) {
    const resourceNamesSubscribe = Array.from({ length: 6 }, (_, at) => `${from + at}`);
    slowly.send({ typeUrl: EDS, resourceNamesSubscribe });
  }
  expect(reason(await slowly.end())).toMatch(/^RESOURCE_EXHAUSTED/);
  const long = rig.delta();
  long.send({ typeUrl: EDS, resourceNamesSubscribe: ["a".repeat(21)] });
  expect(reason(await long.end())).toMatch(/^INVALID_ARGUMENT: a resource name/);

  // Over for their clients, they may not be for the server yet.
  await waitFor("no stream", () => rig.server.streams === 0);
  const ofOne = [rig.delta(), rig.delta()];
  for (const client of ofOne) {
    client.send({ typeUrl: CDS });
    await client.next();
  }
  const third = rig.delta();
  third.send({ typeUrl: CDS });
  expect(reason(await third.end())).toMatch(/^RESOURCE_EXHAUSTED: the node/);
  const other = rig.delta({ node: { id: "other", cluster: "default" } });
  other.send({ typeUrl: CDS });
  await other.next();
  expect(reason(await rig.delta().end())).toMatch(/^RESOURCE_EXHAUSTED: 3 streams/);
});

test("lesson 28: first syncs are spread, and who would wait too long is told to come again", async () => {
  // A place each quarter of an hour.
  const limits = { firstSyncsPerSecond: 0.001, firstSyncsBurst: 2 };
  await using rig = await startXdsRig([resource("CDS", "a")], { limits });
  for (const id of ["n1", "n2"]) {
    const client = rig.delta({ node: { id, cluster: "default" } });
    client.send({ typeUrl: CDS });
    await client.next();
  }
  const third = rig.delta({ node: { id: "n3", cluster: "default" } });
  third.send({ typeUrl: CDS });
  expect(reason(await third.end())).toMatch(/^RESOURCE_EXHAUSTED: too many/);
  expect(rig.metrics.text()).toContain('sluice_xds_queue_seconds_count{type="CDS"} 2');
});

test("lesson 28: who may not begin yet is served when its time comes", async () => {
  const limits = { firstSyncsPerSecond: 50, firstSyncsBurst: 1 };
  await using rig = await startXdsRig([resource("CDS", "a")], { limits });
  const clients = ["n1", "n2", "n3", "n4"].map((id) => rig.delta({ node: { id, cluster: "default" } }));
  for (const client of clients) client.send({ typeUrl: CDS });
  for (const client of clients) expect((await client.next()).resources).toHaveLength(1);
});

test("lesson 36: a stream that never answers is cut", async () => {
  await using rig = await startXdsRig([resource("CDS", "a")], { limits: { ackTimeoutMs: 50 } });
  const client = rig.delta({ answer: () => "none" });
  client.send({ typeUrl: CDS });
  expect(reason(await client.end())).toMatch(/^DEADLINE_EXCEEDED/);
  await rig.nodesAre(([node]) => node?.state === "disconnected");
  expect(rig.metrics.text()).toContain('sluice_xds_streams_cut_total{code="DEADLINE_EXCEEDED"} 1');
});

test("a stream that says nothing is cut", async () => {
  await using rig = await startXdsRig([], { limits: { firstRequestTimeoutMs: 20 } });
  expect(reason(await rig.delta().end())).toMatch(/^INVALID_ARGUMENT: no request/);
});

test("D14 a slow client and 10,000 updates: few responses, the right end", async () => {
  await using rig = await startXdsRig([resource("EDS", "a", "0"), resource("EDS", "b", "0")]);
  let answering = false;
  const client = rig.delta({ answer: () => (answering ? "ack" : "none") });
  client.send({ typeUrl: EDS, resourceNamesSubscribe: ["a", "b"] });
  const first = await client.next();
  const other = rig.delta({ node: { id: "quick", cluster: "default" } });
  other.send({ typeUrl: EDS, resourceNamesSubscribe: ["a"] });
  await other.next();
  for (let at = 1; at <= 10_000; at++) {
    rig.change(resource("EDS", at % 2 === 0 ? "a" : "b", `${at}`));
    if (at % 1000 === 0) await new Promise(setImmediate);
  }
  const last = Buffer.from(resource("EDS", "a", "10000").bytes ?? []);
  // The slow stream holds up no other.
  await other.until(() => last.equals(other.held(EDS).get("a")?.bytes ?? new Uint8Array()));
  expect(client.responses.length).toBe(1);
  answering = true;
  client.answer(first);
  await client.until(() => last.equals(client.held(EDS).get("a")?.bytes ?? new Uint8Array()));
  expect(client.responses.length).toBe(2);
});

test("a client that goes leaves nothing behind but its status", async () => {
  await using rig = await startXdsRig([resource("CDS", "a")]);
  const client = rig.delta();
  client.send({ typeUrl: CDS });
  await client.next();
  await rig.nodesAre(([node]) => node?.state === "synced");
  client.close();
  const [node] = await rig.nodesAre(([each]) => each?.state === "disconnected");
  expect(node?.types[0]?.resources).toBe(1);
  await waitFor("no stream", () => rig.server.streams === 0);
  rig.change(resource("CDS", "a", "2"));
});

test("close ends streams with UNAVAILABLE and stops listening", async () => {
  const rig = await startXdsRig([resource("CDS", "a")]);
  const client = rig.delta();
  client.send({ typeUrl: CDS });
  await client.next();
  const ended = client.end();
  await rig.server.close();
  expect(reason(await ended)).toMatch(/^UNAVAILABLE/);
  await rig[Symbol.asyncDispose]();
});
