/** Control planes that go, come back, or stand beside another: versions are the content's, so that nothing is said twice. */
import { afterAll, beforeAll, expect, test } from "vitest";

import { servedType } from "#proto/resource-types.ts";

import { startPostgres, type TestPostgres } from "../support/postgres.ts";
import type { RecordingDelta } from "../support/xds-client.ts";
import { clusterOf, namesIn, type Running, service, startRunning } from "./running.ts";

const CDS = servedType("CDS").typeUrl;
const EDS = servedType("EDS").typeUrl;
const LDS = servedType("LDS").typeUrl;
const RDS = servedType("RDS").typeUrl;
/** The group's only route configuration. */
const ROUTES = "default";

let postgres: TestPostgres;
beforeAll(async () => {
  postgres = await startPostgres();
});
afterAll(() => postgres?.stop());

async function synced(running: Running, names: readonly string[]): Promise<RecordingDelta> {
  const client = running.delta();
  client.send({ typeUrl: CDS });
  client.send({ typeUrl: LDS });
  client.send({ typeUrl: EDS, resourceNamesSubscribe: names.map(clusterOf) });
  await client.until(() => client.held(EDS).size === names.length && client.held(LDS).size === 1);
  return client;
}

/** The same client on a new stream, with all that it holds. */
function reconnected(running: Running, before: RecordingDelta): RecordingDelta {
  const client = running.delta();
  for (const typeUrl of [CDS, LDS]) client.send({ typeUrl, initialResourceVersions: before.heldVersions(typeUrl) });
  client.send({
    typeUrl: EDS,
    resourceNamesSubscribe: [...before.held(EDS).keys()],
    initialResourceVersions: before.heldVersions(EDS),
  });
  return client;
}

test("D9 D10 S17 after a restart what is held is not sent again, and what changed meanwhile is", async () => {
  const storeUrl = await postgres.createDatabase();
  const first = await startRunning(["a", "b"], { storeUrl });
  const client = await synced(first, ["a", "b"]);
  await first[Symbol.asyncDispose]();

  await using second = await startRunning([], { storeUrl });
  const again = reconnected(second, client);
  await again.until(() => again.responses.length >= 2);
  expect(again.responses.map(({ resources, removedResources }) => [resources, removedResources])).toEqual([
    [[], []],
    [[], []],
  ]);
  await second.apply([service("a", 9)]);
  await again.until(() => again.responses.length >= 3);
  expect(again.responses.slice(2).map((each) => [each.typeUrl, namesIn(each)])).toEqual([[EDS, [clusterOf("a")]]]);
});

test("S16 W6 in state of the world, too: what went just before a restart goes after the routes to it", async () => {
  const storeUrl = await postgres.createDatabase();
  const first = await startRunning(["a", "b"], { storeUrl });
  const client = first.sotw();
  client.subscribe(CDS);
  client.subscribe(RDS, [ROUTES]);
  await client.until(() => client.held(CDS).size === 2 && client.held(RDS).size === 1);
  const versions = new Map(client.responses.map(({ typeUrl, versionInfo }) => [typeUrl, versionInfo]));
  client.close();
  await first.apply([service("b"), service("c")], true);
  await first[Symbol.asyncDispose]();

  await using second = await startRunning([], { storeUrl });
  const again = second.sotw();
  again.send({ typeUrl: CDS, versionInfo: versions.get(CDS) ?? "" });
  again.send({ typeUrl: RDS, resourceNames: [ROUTES], versionInfo: versions.get(RDS) ?? "" });
  await again.until(() => again.responses.length === 3);
  const told = again.responses.map(({ typeUrl, resources }) => [typeUrl, resources.length]);
  expect(told).toEqual([
    [CDS, 3],
    [RDS, 1],
    [CDS, 2],
  ]);
  expect([...again.held(CDS).keys()].sort()).toEqual([clusterOf("b"), clusterOf("c")]);
});

test("D9 two replicas on one database give the same versions; from one to the other only the difference is sent", async () => {
  const storeUrl = await postgres.createDatabase();
  await using one = await startRunning(["a", "b", "c"], { storeUrl });
  await using two = await startRunning([], { storeUrl });
  const [here, there] = [await synced(one, ["a", "b", "c"]), await synced(two, ["a", "b", "c"])];
  for (const typeUrl of [CDS, EDS, LDS]) expect(here.heldVersions(typeUrl)).toEqual(there.heldVersions(typeUrl));
  here.close();
  await one.apply([service("a", 5), service("b"), service("d")], true);
  // The other replica follows; its own client sees when.
  await there.until(() => there.held(CDS).has(clusterOf("d")) && !there.held(CDS).has(clusterOf("c")));
  const moved = reconnected(two, here);
  await moved.until(() => moved.responses.some((each) => each.removedResources.includes(clusterOf("c"))));
  await moved.until(() => moved.held(EDS).has(clusterOf("a")) && moved.held(CDS).has(clusterOf("d")));
  const sent = moved.responses.flatMap((each) =>
    namesIn(each).map((name) => `${each.typeUrl.split(".").at(-1)} ${name}`),
  );
  expect(sent.sort()).toEqual([`Cluster ${clusterOf("d")}`, `ClusterLoadAssignment ${clusterOf("a")}`]);
});
