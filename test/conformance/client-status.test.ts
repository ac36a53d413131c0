/** The client status service (CSDS): the server's view of each resource of each data plane, on the xDS port and on the admin port. */
import { createHash } from "node:crypto";

import { createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { afterAll, beforeAll, expect, test } from "vitest";

import {
  type ClientConfig,
  ClientStatusDiscoveryService,
  type ClientStatusRequestSchema,
  ConfigStatus,
} from "#envoy/service/status/v3/csds_pb.ts";
import { ClusterSchema } from "#envoy/config/cluster/v3/cluster_pb.ts";
import { fromBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { servedType } from "#proto/resource-types.ts";

import { authorized } from "../support/control-plane.ts";
import { callUnary, PortStream } from "../support/port-client.ts";
import { waitFor } from "../support/wait.ts";
import { clusterOf, type Running, service, startRunning } from "./running.ts";

const { fetchClientStatus, streamClientStatus } = ClientStatusDiscoveryService.method;
const CDS = servedType("CDS").typeUrl;
const EDS = servedType("EDS").typeUrl;

let running: Running;
beforeAll(async () => {
  running = await startRunning(["a", "b"]);
  const joinTokens = [{ name: "t", sha256: createHash("sha256").update("guarded-token").digest("hex") }];
  const listeners = [{ name: "http", port: 19_101 }];
  await running.gateways.apply({ gateway: { gatewayGroups: [{ name: "guarded", listeners, joinTokens }] } });
});
afterAll(() => running[Symbol.asyncDispose]());

const byId = (value: string) => ({ nodeMatchers: [{ nodeId: { matchPattern: { case: "exact" as const, value } } }] });

const fetch = (request: MessageInitShape<typeof ClientStatusRequestSchema>, metadata: Record<string, string> = {}) =>
  callUnary(running.plane.xdsAddress, fetchClientStatus, request, { metadata });

const words = new Map<number, string>(Object.entries(ConfigStatus).map(([word, value]) => [value, word]));

/** "Type name STATUS" of each resource. */
const states = (config: ClientConfig | undefined) =>
  config?.genericXdsConfigs.map(
    ({ typeUrl, name, configStatus }) => `${typeUrl.split(".").at(-1)} ${name} ${words.get(configStatus)}`,
  );

/** Asks until the node's resources are as wished for. */
const statesAre = (id: string, wanted: readonly string[]) =>
  waitFor(`the resources of ${id}`, async () => {
    const [config] = (await fetch(byId(id))).config;
    expect(states(config)).toEqual(wanted);
    return config;
  });

test("L2 a resource is STALE until it is answered, SYNCED once accepted, ERROR with the reason once refused", async () => {
  const client = running.delta({ node: { id: "one", cluster: "default" }, answer: () => "none" });
  client.send({ typeUrl: CDS });
  const first = await client.next();
  const [a, b] = [clusterOf("a"), clusterOf("b")];
  await statesAre("one", [`Cluster ${a} STALE`, `Cluster ${b} STALE`]);
  client.answer(first, "ack");
  const synced = await statesAre("one", [`Cluster ${a} SYNCED`, `Cluster ${b} SYNCED`]);
  expect(synced?.node).toMatchObject({ id: "one", cluster: "default" });
  const [entry] = synced?.genericXdsConfigs ?? [];
  expect(entry?.versionInfo).toBe(client.responses[0]?.resources.find(({ name }) => name === a)?.version);
  expect(entry?.lastUpdated?.seconds).toBeGreaterThan(1_700_000_000n);
  expect(fromBinary(ClusterSchema, entry?.xdsConfig?.value ?? new Uint8Array()).name).toBe(a);
  expect(entry?.errorState).toBeUndefined();

  client.send({ typeUrl: EDS, resourceNamesSubscribe: [a, "nobody"] });
  client.answer(await client.next(), { refuse: "it is not to my liking" });
  const refused = await statesAre("one", [
    `Cluster ${a} SYNCED`,
    `Cluster ${b} SYNCED`,
    `ClusterLoadAssignment ${a} ERROR`,
    "ClusterLoadAssignment nobody NOT_SENT",
  ]);
  const error = refused?.genericXdsConfigs[2]?.errorState;
  expect(error?.details).toBe("it is not to my liking");
  expect(error?.versionInfo).toBe(refused?.genericXdsConfigs[2]?.versionInfo);
  expect(error?.lastUpdateAttempt).toBeDefined();

  // What comes after the refusal is judged by itself.
  await running.apply([service("a", 7)]);
  client.answer(await client.next(), "ack");
  await statesAre("one", [
    `Cluster ${a} SYNCED`,
    `Cluster ${b} SYNCED`,
    `ClusterLoadAssignment ${a} SYNCED`,
    "ClusterLoadAssignment nobody NOT_SENT",
  ]);
  client.close();
});

test("L2 state of the world: full state is accepted as a whole, and refused as a whole", async () => {
  const client = running.sotw({ node: { id: "whole", cluster: "default" }, answer: () => "none" });
  client.subscribe(CDS);
  client.answer(await client.next(), { refuse: "no" });
  await statesAre("whole", [`Cluster ${clusterOf("a")} ERROR`, `Cluster ${clusterOf("b")} ERROR`]);
  client.close();
});

test("L2 a change that waits for the answer to the one before is NOT_SENT", async () => {
  const client = running.delta({ node: { id: "slow", cluster: "default" }, answer: () => "none" });
  client.send({ typeUrl: EDS, resourceNamesSubscribe: [clusterOf("a")] });
  await client.next();
  await statesAre("slow", [`ClusterLoadAssignment ${clusterOf("a")} STALE`]);
  await running.apply([service("a", 99)]);
  await statesAre("slow", [`ClusterLoadAssignment ${clusterOf("a")} NOT_SENT`]);
  client.close();
});

test("L2 the streams of a node are one client; contents are left out on request; nodes are picked by matchers", async () => {
  const node = { id: "both", cluster: "default" };
  const clusters = running.delta({ node, method: "/envoy.service.cluster.v3.ClusterDiscoveryService/DeltaClusters" });
  clusters.send({});
  const listeners = running.delta({
    node,
    method: "/envoy.service.listener.v3.ListenerDiscoveryService/DeltaListeners",
  });
  listeners.send({});
  await Promise.all([clusters.next(), listeners.next()]);
  await statesAre("both", [
    `Cluster ${clusterOf("a")} SYNCED`,
    `Cluster ${clusterOf("b")} SYNCED`,
    "Listener http SYNCED",
  ]);
  const { config } = await fetch({ ...byId("both"), excludeResourceContents: true });
  expect(config).toHaveLength(1);
  expect(config[0]?.genericXdsConfigs.map(({ xdsConfig }) => xdsConfig)).toEqual([undefined, undefined, undefined]);
  expect((await fetch(byId("nobody"))).config).toEqual([]);
  await expect(fetch({ nodeMatchers: [{ nodeId: {} }] })).rejects.toThrow(
    "INVALID_ARGUMENT: node_matchers[0].node_id: has no pattern",
  );
  for (const client of [clusters, listeners]) client.close();
});

test("L2 the stream answers each request once, and isn't a watch", async () => {
  const stream = new PortStream(running.plane.xdsAddress, streamClientStatus);
  stream.send(byId("nobody"));
  stream.send(byId("nobody"));
  await stream.until(() => stream.responses.length === 2);
  stream.send({ nodeMatchers: [{ nodeId: {} }] });
  expect(await stream.end()).toMatchObject({ code: 3 });
  const half = new PortStream(running.plane.xdsAddress, streamClientStatus);
  half.send({});
  half.halfClose();
  expect(await half.end()).toBe("ok");
  expect(half.responses).toHaveLength(1);
});

test("L2 whoever may not join a gateway group sees none of its nodes; an operator sees all", async () => {
  const authorization = "Bearer guarded-token";
  const inside = running.delta({ node: { id: "inside", cluster: "guarded" }, metadata: { authorization } });
  const outside = running.delta({ node: { id: "outside", cluster: "default" } });
  for (const client of [inside, outside]) {
    client.send({ typeUrl: CDS });
    await client.next();
  }
  // Streams of other tests may still be on their way out.
  await waitFor("the others to go", async () => (await fetch({})).config.length === 1);
  const seen = async (...args: Parameters<typeof fetch>) => (await fetch(...args)).config.map(({ node }) => node?.id);
  expect(await seen({})).toEqual(["outside"]);
  expect(await seen({}, { authorization })).toEqual(["inside", "outside"]);
  expect(await seen({ node: { id: "me", cluster: "guarded" } }, { authorization })).toEqual(["inside"]);
  await expect(fetch({ node: { id: "me", cluster: "guarded" } })).rejects.toThrow("UNAUTHENTICATED");
  const transport = createConnectTransport({
    baseUrl: running.plane.url,
    httpVersion: "2",
    interceptors: [authorized()],
  });
  const { config } = await createClient(ClientStatusDiscoveryService, transport).fetchClientStatus({});
  expect(config.map(({ node }) => node?.id)).toEqual(["inside", "outside"]);
  const stranger = createConnectTransport({ baseUrl: running.plane.url, httpVersion: "2" });
  await expect(createClient(ClientStatusDiscoveryService, stranger).fetchClientStatus({})).rejects.toThrow(
    "unauthenticated",
  );
  for (const client of [inside, outside]) client.close();
});
