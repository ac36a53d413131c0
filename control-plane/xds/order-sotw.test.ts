/** Make before break for state-of-the-world clients that come back, over the wire: all that they tell of what they hold is its version (S16). */
import { expect, test } from "vitest";

import { resourceTypeByUrl } from "#proto/resource-types.ts";

import type { Answer, RecordingSotw } from "../../test/support/xds-client.ts";
import { nameOf } from "../../test/support/xds-client.ts";
import { resource, typeUrlOf } from "../../test/support/xds-resources.ts";
import { startXdsRig, type XdsRig } from "../../test/support/xds-rig.ts";

const CDS = typeUrlOf("CDS");
const RDS = typeUrlOf("RDS");

const gateway = () => [resource("CDS", "a"), resource("EDS", "a"), resource("LDS", "l"), resource("RDS", "r")];

/** What came, in words: "CDS a,b". */
const inWords = ({ responses }: RecordingSotw) =>
  responses.map(({ typeUrl, resources }) => {
    const names = resources.map(({ value }) => nameOf(typeUrl, value)).sort();
    return [resourceTypeByUrl.get(typeUrl)?.shortName, ...names].join(" ");
  });

/** The versions that a client of `gateway()` has accepted, which it tells on another stream. */
async function versionsOf(rig: XdsRig): Promise<Record<string, string>> {
  const client = rig.sotw();
  client.subscribe(CDS);
  client.subscribe(RDS, ["r"]);
  await rig.nodesAre(([node]) => node?.state === "synced" && node.types.length === 2);
  client.close();
  return Object.fromEntries(client.responses.map(({ typeUrl, versionInfo }) => [typeUrl, versionInfo]));
}

/** The same client on another stream. */
function returned(rig: XdsRig, versions: Record<string, string>, answer: (typeUrl: string) => Answer = () => "ack") {
  const client = rig.sotw({ answer: ({ typeUrl }) => answer(typeUrl) });
  client.send({ typeUrl: CDS, versionInfo: versions[CDS] ?? "" });
  client.send({ typeUrl: RDS, resourceNames: ["r"], versionInfo: versions[RDS] ?? "" });
  return client;
}

test("W6 a cluster that went meanwhile stays in the set until the routes have been accepted", async () => {
  await using rig = await startXdsRig(gateway());
  const versions = await versionsOf(rig);
  rig.change(resource("CDS", "b"), resource("RDS", "r", "2"), resource("CDS", "a", null), resource("EDS", "a", null));
  const client = returned(rig, versions, (typeUrl) => (typeUrl === RDS ? "none" : "ack"));
  await client.until(() => client.responses.length === 2);
  expect(inWords(client)).toEqual(["CDS a b", "RDS r"]);
  const routes = client.responses[1];
  if (routes !== undefined) client.answer(routes);
  await client.until(() => client.responses.length === 3);
  expect(inWords(client).slice(2)).toEqual(["CDS b"]);
});

test("W6 who was cut off between the two is understood when it comes back again", async () => {
  await using rig = await startXdsRig(gateway());
  const versions = await versionsOf(rig);
  rig.change(resource("CDS", "b"), resource("RDS", "r", "2"), resource("CDS", "a", null));
  const first = returned(rig, versions, (typeUrl) => (typeUrl === RDS ? "none" : "ack"));
  await first.until(() => first.responses.length === 2);
  first.close();
  const [between] = first.responses;
  const client = returned(rig, { ...versions, [CDS]: between?.versionInfo ?? "" });
  // Its clusters are as they should be for now: the routes come first.
  await client.until(() => client.responses.length === 2);
  expect(inWords(client)).toEqual(["RDS r", "CDS b"]);
});

test("W6 where nothing but removals is due, clusters wait for the routes from the beginning", async () => {
  await using rig = await startXdsRig([...gateway(), resource("CDS", "b")]);
  const versions = await versionsOf(rig);
  rig.change(resource("RDS", "r", "2"), resource("CDS", "b", null));
  const client = returned(rig, versions);
  await client.until(() => client.responses.length === 2);
  expect(inWords(client)).toEqual(["RDS r", "CDS a"]);
});

test("W1 W5 routes wait until the clusters before them are accepted", async () => {
  await using rig = await startXdsRig(gateway());
  const versions = await versionsOf(rig);
  rig.change(resource("CDS", "b"), resource("RDS", "r", "2"));
  const client = returned(rig, versions, (typeUrl) => (typeUrl === CDS ? "none" : "ack"));
  await client.until(() => client.responses.length === 1);
  client.subscribe(typeUrlOf("LDS"), []);
  await client.until(() => client.responses.length === 2);
  expect(inWords(client)).toEqual(["CDS a b", "LDS l"]);
  const [clusters] = client.responses;
  if (clusters !== undefined) client.answer(clusters);
  await client.until(() => client.responses.length === 3);
  expect(inWords(client).slice(2)).toEqual(["RDS r"]);
});

test("S16 a version that nobody knows is answered with all that there is", async () => {
  await using rig = await startXdsRig(gateway());
  const client = returned(rig, { [CDS]: "0123456789abcdef", [RDS]: "0123456789abcdef" });
  await client.until(() => client.responses.length === 2);
  expect(inWords(client)).toEqual(["CDS a", "RDS r"]);
});
