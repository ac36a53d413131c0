/** Make before break (W1-W6), over the wire. */
import { expect, test } from "vitest";

import { resourceType, resourceTypeByUrl } from "#proto/resource-types.ts";

import type { Answer } from "../../test/support/xds-client.ts";
import { resource, typeUrlOf } from "../../test/support/xds-resources.ts";
import { startXdsRig, type XdsRig } from "../../test/support/xds-rig.ts";
import { defaultLimits } from "./limits.ts";
import { newOrder, permit } from "./order.ts";
import { newSubscription } from "./subscription.ts";

const CDS = typeUrlOf("CDS");
const EDS = typeUrlOf("EDS");
const LDS = typeUrlOf("LDS");
const RDS = typeUrlOf("RDS");

const gateway = () => [resource("CDS", "a"), resource("EDS", "a"), resource("LDS", "l"), resource("RDS", "r")];

/** What came, in words: "CDS +a,b -c". */
const inWords = (
  responses: readonly { typeUrl: string; resources: { name: string }[]; removedResources: string[] }[],
) =>
  responses.map(({ typeUrl, resources, removedResources }) => {
    const added = resources.map(({ name }) => name).sort();
    const parts: string[] = [resourceTypeByUrl.get(typeUrl)?.shortName ?? typeUrl];
    if (added.length > 0) parts.push(`+${added.join(",")}`);
    if (removedResources.length > 0) parts.push(`-${removedResources.join(",")}`);
    return parts.join(" ");
  });

/** A delta client that has all of `gateway()`, and afterwards answers as `answers` says: by type, "ack" by default. */
async function syncedClient(rig: XdsRig, answers: Record<string, Answer> = {}) {
  let synced = false;
  const client = rig.delta({ answer: ({ typeUrl }) => (synced ? (answers[typeUrl] ?? "ack") : "ack") });
  client.send({ typeUrl: CDS });
  client.send({ typeUrl: EDS, resourceNamesSubscribe: ["a"] });
  client.send({ typeUrl: LDS });
  client.send({ typeUrl: RDS, resourceNamesSubscribe: ["r"] });
  await rig.nodesAre(([node]) => node?.state === "synced" && node.types.length === 4);
  synced = true;
  client.responses.length = 0;
  return client;
}

test("W1 one change of everything: clusters, endpoints, listeners, routes, then removals", async () => {
  await using rig = await startXdsRig([...gateway(), resource("CDS", "old"), resource("LDS", "old")]);
  const client = await syncedClient(rig);
  rig.change(
    resource("RDS", "r", "2"),
    resource("LDS", "l", "2"),
    resource("LDS", "old", null),
    resource("EDS", "a", "2"),
    resource("CDS", "a", "2"),
    resource("CDS", "old", null),
  );
  await client.until(() => client.responses.length === 5);
  expect(inWords(client.responses)).toEqual(["CDS +a", "EDS +a", "LDS +l -old", "RDS +r", "CDS -old"]);
});

test("W1 T7 listeners and routes wait for all parts of a first sync that is split", async () => {
  const limits = { responseBytes: 1 };
  await using rig = await startXdsRig([...gateway(), resource("CDS", "b")], { limits });
  const client = rig.delta();
  client.send({ typeUrl: RDS, resourceNamesSubscribe: ["r"] });
  client.send({ typeUrl: LDS });
  client.send({ typeUrl: CDS });
  await client.until(() => client.responses.length === 4);
  const words = inWords(client.responses);
  // The requests may arrive one by one; what matters is what comes after the first part.
  expect(words.slice(words.indexOf("CDS +a"), words.indexOf("CDS +a") + 2)).toEqual(["CDS +a", "CDS +b"]);
});

test("W2 the endpoints of a cluster that changed are sent again, right behind it and before it is accepted", async () => {
  await using rig = await startXdsRig(gateway());
  const client = await syncedClient(rig, { [CDS]: "none" });
  rig.change(resource("CDS", "a", "2"));
  await client.until(() => client.responses.length === 2);
  expect(inWords(client.responses)).toEqual(["CDS +a", "EDS +a"]);
});

test("W2 in state of the world: only those of the clusters that changed", async () => {
  await using rig = await startXdsRig([...gateway(), resource("CDS", "b"), resource("EDS", "b")]);
  const client = rig.sotw();
  client.subscribe(CDS);
  await client.until(() => client.held(CDS).size === 2);
  client.subscribe(EDS, ["a", "b"]);
  await client.until(() => client.held(EDS).size === 2);
  await rig.nodesAre(([node]) => node?.state === "synced");
  const before = client.responses.length;
  rig.change(resource("CDS", "b", "2"));
  await client.until(() => client.responses.length === before + 2);
  const [clusters, endpoints] = client.responses.slice(before);
  expect(clusters?.resources.length).toBe(2);
  expect(endpoints?.typeUrl).toBe(EDS);
  expect(endpoints?.resources.length).toBe(1);
});

test.each([
  ["delta", "delta ADS", "DeltaClusters", undefined],
  [
    "delta",
    "a service of their own",
    "DeltaClusters",
    "/envoy.service.endpoint.v3.EndpointDiscoveryService/DeltaEndpoints",
  ],
  ["sotw", "ADS", "StreamClusters", undefined],
] as const)("W2 %s: clusters on a stream of their own, endpoints by %s", async (kind, _, clusterMethod, method) => {
  await using rig = await startXdsRig([...gateway(), resource("CDS", "b"), resource("EDS", "b")]);
  const open = (id: string) => {
    const node = { id, cluster: "default" };
    const byService = { node, method: `/envoy.service.cluster.v3.ClusterDiscoveryService/${clusterMethod}` };
    const endpoints = { node, ...(method !== undefined && { method }) };
    if (kind === "sotw") {
      const clients = [rig.sotw(byService), rig.sotw(endpoints)] as const;
      clients[0].subscribe(CDS);
      clients[1].subscribe(EDS, ["a", "b"]);
      return clients;
    }
    const clients = [rig.delta(byService), rig.delta(endpoints)] as const;
    clients[0].send({ typeUrl: CDS });
    clients[1].send({ typeUrl: EDS, resourceNamesSubscribe: ["a", "b"] });
    return clients;
  };
  const [, endpoints] = open("one");
  await endpoints.until(() => endpoints.held(EDS).size === 2);
  await rig.nodesAre(([node]) => node?.state === "synced" && node.types.length === 2);
  const [, others] = open("other");
  await others.until(() => others.held(EDS).size === 2);
  await rig.nodesAre((nodes) => nodes.length === 2 && nodes.every(({ state }) => state === "synced"));
  const [before, othersBefore] = [endpoints.responses.length, others.responses.length];
  rig.change(resource("CDS", "b", "2"));
  // Its endpoints are as they were.
  for (const [client, had] of [
    [endpoints, before],
    [others, othersBefore],
  ] as const) {
    await client.until(() => client.responses.length === had + 1);
    const last = client.responses.at(-1);
    expect([last?.typeUrl, last?.resources.length]).toEqual([EDS, 1]);
  }
});

test("W3 a cluster without endpoints has an empty assignment", async () => {
  await using rig = await startXdsRig([resource("EDS", "a", "")]);
  const client = rig.delta();
  client.send({ typeUrl: EDS, resourceNamesSubscribe: ["a"] });
  expect(inWords([await client.next()])).toEqual(["EDS +a"]);
});

test("W5 routes wait until the clusters before them are accepted; endpoints do not", async () => {
  await using rig = await startXdsRig(gateway());
  const client = await syncedClient(rig, { [CDS]: "none" });
  rig.change(resource("CDS", "b"), resource("RDS", "r", "2"), resource("LDS", "l", "2"));
  rig.change(resource("EDS", "a", "2"));
  await client.until(() => client.responses.length === 2);
  rig.change(resource("EDS", "a", "3"));
  await client.until(() => client.responses.length === 3);
  expect(inWords(client.responses)).toEqual(["CDS +b", "EDS +a", "EDS +a"]);
  for (const response of client.responses.filter(({ typeUrl }) => typeUrl === CDS)) client.answer(response);
  await client.until(() => client.responses.length === 5);
  expect(inWords(client.responses).slice(3)).toEqual(["LDS +l", "RDS +r"]);
});

test("W5 routes wait until the endpoints of a new cluster are accepted", async () => {
  await using rig = await startXdsRig(gateway(), { limits: { followUpMs: 4_000 } });
  const client = await syncedClient(rig, { [EDS]: "none" });
  rig.change(resource("CDS", "b"), resource("EDS", "b"), resource("RDS", "r", "2"));
  await client.until(() => client.responses.length === 1);
  client.send({ typeUrl: EDS, resourceNamesSubscribe: ["b"] });
  await client.until(() => client.responses.length === 2);
  rig.change(resource("CDS", "a", "2")); // Something else that may go, to see that the routes did not.
  await client.until(() => client.responses.length === 3);
  expect(inWords(client.responses)).toEqual(["CDS +b", "EDS +b", "CDS +a"]);
  const answered = client.responses[1];
  if (answered !== undefined) client.answer(answered);
  await client.until(() => client.responses.length === 4);
  const again = client.responses[3];
  if (again !== undefined) client.answer(again);
  await client.until(() => client.responses.length === 5);
  expect(inWords(client.responses).slice(3)).toEqual(["EDS +a", "RDS +r"]);
});

test("W5 no wait is longer than the limit", async () => {
  await using rig = await startXdsRig(gateway(), { limits: { orderTimeoutMs: 50 } });
  const client = await syncedClient(rig, { [CDS]: "none" });
  rig.change(resource("CDS", "b"), resource("RDS", "r", "2"));
  await client.until(() => client.responses.length === 2);
  expect(inWords(client.responses)).toEqual(["CDS +b", "RDS +r"]);
});

test("W5 routes wait a while after clusters were refused, then go on", async () => {
  await using rig = await startXdsRig(gateway(), { limits: { orderTimeoutMs: 5_000 } });
  const client = await syncedClient(rig, { [CDS]: { refuse: "bad" } });
  rig.change(resource("CDS", "b"), resource("RDS", "r", "2"));
  await rig.nodesAre(([node]) => node?.state === "nacked");
  expect(inWords(client.responses)).toEqual(["CDS +b"]);
  await client.until(() => client.responses.length === 2);
  expect(inWords(client.responses)).toEqual(["CDS +b", "RDS +r"]);
});

test("W6 a cluster goes after the routes that used it have been accepted", async () => {
  await using rig = await startXdsRig(gateway());
  const client = await syncedClient(rig, { [RDS]: "none" });
  rig.change(resource("CDS", "b"), resource("RDS", "r", "2"), resource("CDS", "a", null), resource("EDS", "a", null));
  await client.until(() => client.responses.length === 2);
  rig.change(resource("LDS", "m"));
  await client.until(() => client.responses.length === 3);
  expect(inWords(client.responses)).toEqual(["CDS +b", "RDS +r", "LDS +m"]);
  const routes = client.responses[1];
  if (routes !== undefined) client.answer(routes);
  await client.until(() => client.responses.length === 5);
  expect(inWords(client.responses).slice(3)).toEqual(["CDS -a", "EDS -a"]);
});

test("W6 what a client has asked for while this process stood still counts as asked for in time", async () => {
  // So long that it is over within the standstill alone.
  const limits = { followUpMs: 5_000, orderTimeoutMs: 600_000 };
  await using rig = await startXdsRig([...gateway(), resource("RDS", "s")], { limits });
  const client = await syncedClient(rig);
  rig.change(resource("LDS", "l", "2"), resource("CDS", "a", null));
  await client.until(() => client.responses.length === 1);
  // An answer shows that the acceptance before it has been read: from then on there is a while to ask for what the listener needs.
  client.send({ typeUrl: EDS, resourceNamesSubscribe: ["nobody"] });
  await client.until(() => client.responses.length === 2);
  client.send({ typeUrl: RDS, resourceNamesSubscribe: ["s"] });
  // It leaves at the end of this turn of the event loop, and so does the machine: nothing has read it when the while is over.
  await new Promise<void>((resolve) => {
    setImmediate(() => {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, limits.followUpMs + 100);
      resolve();
    });
  });
  await client.until(() => client.responses.length === 4);
  expect(inWords(client.responses)).toEqual(["LDS +l", "EDS -nobody", "RDS +s", "CDS -a"]);
});

test("W6 in state of the world: a cluster stays in the set until the routes have been accepted", async () => {
  await using rig = await startXdsRig(gateway());
  let answer: Answer = "ack";
  const client = rig.sotw({ answer: ({ typeUrl }) => (typeUrl === RDS ? answer : "ack") });
  client.subscribe(CDS);
  client.subscribe(RDS, ["r"]);
  await rig.nodesAre(([node]) => node?.state === "synced" && node.types.length === 2);
  answer = "none";
  const before = client.responses.length;
  rig.change(resource("CDS", "b"), resource("RDS", "r", "2"), resource("CDS", "a", null));
  await client.until(() => client.responses.length === before + 2);
  expect([...client.held(CDS).keys()].sort()).toEqual(["a", "b"]);
  const routes = client.responses.at(-1);
  expect(routes?.typeUrl).toBe(RDS);
  if (routes !== undefined) client.answer(routes);
  await client.until(() => client.responses.length === before + 3);
  expect([...client.held(CDS).keys()]).toEqual(["b"]);
  const versions = client.responses.filter(({ typeUrl }) => typeUrl === CDS).map(({ versionInfo }) => versionInfo);
  expect(new Set(versions).size).toBe(versions.length);
});

test("W6 after a reconnect too, removals wait for the other types", async () => {
  await using rig = await startXdsRig(gateway(), { limits: { reconnectMs: 500 } });
  const client = await syncedClient(rig);
  const held = { cds: client.heldVersions(CDS), rds: client.heldVersions(RDS) };
  client.close();
  rig.change(resource("CDS", "b"), resource("RDS", "r", "2"), resource("CDS", "a", null));
  const again = rig.delta();
  again.send({ typeUrl: CDS, initialResourceVersions: held.cds });
  again.send({ typeUrl: RDS, resourceNamesSubscribe: ["r"], initialResourceVersions: held.rds });
  await again.until(() => again.responses.length === 3);
  expect(inWords(again.responses)).toEqual(["CDS +b", "RDS +r", "CDS -a"]);
});

test("W6 after a reconnect nothing goes out until the routes that the client holds are known, however late it asks", async () => {
  await using rig = await startXdsRig(gateway(), { limits: { reconnectMs: 0, resumeMs: 60_000 } });
  const client = await syncedClient(rig);
  const held = { cds: client.heldVersions(CDS), rds: client.heldVersions(RDS) };
  client.close();
  rig.change(resource("CDS", "b"), resource("RDS", "r", "2"), resource("CDS", "a", null));
  const again = rig.delta();
  again.send({ typeUrl: CDS, initialResourceVersions: held.cds });
  again.send({ typeUrl: LDS });
  await rig.nodesAre(([node]) => node?.types.length === 2);
  expect(again.responses).toEqual([]);
  again.send({ typeUrl: RDS, resourceNamesSubscribe: ["r"], initialResourceVersions: held.rds });
  await again.until(() => again.responses.length === 4);
  expect(inWords(again.responses)).toEqual(["CDS +b", "LDS +l", "RDS +r", "CDS -a"]);
});

test("W1 W5 after a reconnect too, routes wait until the clusters before them are accepted", async () => {
  await using rig = await startXdsRig(gateway());
  const client = await syncedClient(rig);
  const held = { cds: client.heldVersions(CDS), lds: client.heldVersions(LDS), rds: client.heldVersions(RDS) };
  client.close();
  rig.change(resource("CDS", "b"), resource("EDS", "b"), resource("RDS", "r", "2"));
  const again = rig.delta({ answer: ({ typeUrl }) => (typeUrl === CDS ? "none" : "ack") });
  again.send({ typeUrl: CDS, initialResourceVersions: held.cds });
  again.send({ typeUrl: LDS, initialResourceVersions: held.lds });
  again.send({ typeUrl: RDS, resourceNamesSubscribe: ["r"], initialResourceVersions: held.rds });
  again.send({ typeUrl: EDS, resourceNamesSubscribe: ["a", "b"] });
  await again.until(() => again.responses.length === 2);
  expect(inWords(again.responses)).toEqual(["CDS +b", "EDS +a,b"]);
  const [clusters] = again.responses;
  if (clusters !== undefined) again.answer(clusters, "ack");
  await again.until(() => again.responses.length === 4);
  expect(inWords(again.responses).slice(2)).toEqual(["LDS", "RDS +r"]);
});

test("W6 what refused routes may still use stays for as long as they are refused", () => {
  const order = newOrder();
  for (const shortName of ["CDS", "EDS", "LDS", "RDS"] as const) {
    const type = resourceType(shortName);
    order.subscriptions.set(shortName, { ...newSubscription(type, type.typeUrl), started: true });
  }
  const [clusters, routes] = [order.subscriptions.get("CDS"), order.subscriptions.get("RDS")];
  if (clusters === undefined || routes === undefined) throw new Error("they were made above");
  clusters.gone.add("a");
  clusters.waitingSinceMs = 0;
  const muchLaterMs = defaultLimits.orderTimeoutMs * 100;
  const removals = () => permit(order, clusters, defaultLimits, muchLaterMs)?.removals;
  expect(removals()).toBe(true);
  routes.refused = true;
  expect(removals()).toBe(false);
  // Another virtual host was accepted since.
  routes.refused = false;
  routes.progress.refusals.set("r", "bad");
  expect(removals()).toBe(false);
  routes.progress.refusals.delete("r");
  expect(removals()).toBe(true);
});
