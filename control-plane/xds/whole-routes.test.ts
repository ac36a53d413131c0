/** Route configurations and their virtual hosts: whole for most clients, one by one for those that say that they take them so. */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { expect, test } from "vitest";

import { type RouteConfiguration, RouteConfigurationSchema } from "#envoy/config/route/v3/route_pb.ts";
import { VIRTUAL_HOSTS_BY_WILDCARD } from "#proto/client-features.ts";

import { resource, typeUrlOf } from "../../test/support/xds-resources.ts";
import type { RecordingDelta } from "../../test/support/xds-client.ts";
import { startXdsRig } from "../../test/support/xds-rig.ts";
import { ResourceCache } from "./cache.ts";
import { WHOLE_ROUTES } from "./whole-routes.ts";

const CDS = typeUrlOf("CDS");
const RDS = typeUrlOf("RDS");
const VHDS = typeUrlOf("VHDS");

const vhds = { configSource: { configSourceSpecifier: { case: "ads", value: {} } } } as const;
const table = (name: string) => ({
  typeUrl: RDS,
  name,
  bytes: toBinary(RouteConfigurationSchema, create(RouteConfigurationSchema, { name, vhds })),
});
const host = (name: string, domain: string | null = `${name.split("/").at(-1)}.com`) => resource("VHDS", name, domain);

const read = (bytes: Uint8Array | undefined): RouteConfiguration =>
  fromBinary(RouteConfigurationSchema, bytes ?? new Uint8Array());

const hostsIn = (bytes: Uint8Array | undefined) =>
  read(bytes).virtualHosts.map(({ name, domains }) => [name, domains[0]]);

const held = (client: RecordingDelta) => client.held(RDS).get("r")?.bytes;

const native = { id: "n", cluster: "default", clientFeatures: [VIRTUAL_HOSTS_BY_WILDCARD] };

test("a client that says nothing of virtual hosts gets them inside, by name, and no vhds", async () => {
  await using rig = await startXdsRig([table("r"), table("other"), host("r/b"), host("r/a"), host("other/c")]);
  const client = rig.delta();
  client.send({ typeUrl: RDS, resourceNamesSubscribe: ["r"] });
  await client.until(() => client.held(RDS).has("r"));
  expect(read(held(client)).vhds).toBeUndefined();
  expect(hostsIn(held(client))).toEqual([
    ["r/a", "a.com"],
    ["r/b", "b.com"],
  ]);

  rig.change(host("r/a", "new.com"), host("r/b", null), host("r/c"));
  await client.until(() => hostsIn(held(client))[0]?.[1] === "new.com");
  expect(hostsIn(held(client))).toEqual([
    ["r/a", "new.com"],
    ["r/c", "c.com"],
  ]);
});

test("a client that takes virtual hosts one by one gets only what changed", async () => {
  await using rig = await startXdsRig([table("r"), host("r/a"), host("r/b")]);
  const client = rig.delta({ node: native });
  client.send({ typeUrl: RDS, resourceNamesSubscribe: ["r"] });
  await client.until(() => client.held(RDS).has("r"));
  expect(Buffer.from(held(client) ?? []).equals(table("r").bytes)).toBe(true);
  client.send({ typeUrl: VHDS, resourceNamesSubscribe: ["*"] });
  await client.until(() => client.held(VHDS).size === 2);

  const before = client.responses.length;
  rig.change(host("r/b", "new.com"), host("r/a", null));
  await client.until(() => client.held(VHDS).size === 1);
  expect(
    client.responses
      .slice(before)
      .map(({ typeUrl, resources, removedResources }) => [
        ...[typeUrl, resources.map(({ name }) => name), removedResources],
      ]),
  ).toEqual([[VHDS, ["r/b"], ["r/a"]]]);
});

test("D9 a client that comes back with the versions of its virtual hosts is sent the difference", async () => {
  await using rig = await startXdsRig([table("r"), host("r/a"), host("r/b")]);
  const first = rig.delta({ node: native });
  first.send({ typeUrl: VHDS, resourceNamesSubscribe: ["*"] });
  const versions = Object.fromEntries((await first.next()).resources.map(({ name, version }) => [name, version]));
  first.close();
  rig.change(host("r/b", "new.com"));
  const second = rig.delta({ node: native });
  second.send({ typeUrl: VHDS, resourceNamesSubscribe: ["*"], initialResourceVersions: versions });
  expect((await second.next()).resources.map(({ name }) => name)).toEqual(["r/b"]);
});

test("state of the world has no virtual hosts of their own, whatever the client says", async () => {
  await using rig = await startXdsRig([table("r"), host("r/a")]);
  const client = rig.sotw({ node: native });
  client.subscribe(RDS, ["r"]);
  await client.until(() => client.held(RDS).has("r"));
  expect(hostsIn(client.held(RDS).get("r"))).toEqual([["r/a", "a.com"]]);
});

test("T7 the first virtual hosts come in one response, since nothing tells that an answer is complete; later ones are split", async () => {
  const names = Array.from({ length: 40 }, (_, at) => `r/${at}`);
  await using rig = await startXdsRig([table("r"), ...names.map((name) => host(name))], {
    limits: { responseBytes: 200 },
  });
  const client = rig.delta({ node: native });
  client.send({ typeUrl: VHDS, resourceNamesSubscribe: ["*"] });
  expect((await client.next()).resources.length).toBe(40);
  rig.change(...names.map((name) => host(name, "new.com")));
  expect((await client.next()).resources.length).toBeLessThan(40);
});

test("W1 a virtual host goes behind the clusters of the same change", async () => {
  await using rig = await startXdsRig([table("r"), host("r/a"), resource("CDS", "a")]);
  const client = rig.delta({ node: native });
  client.send({ typeUrl: CDS });
  client.send({ typeUrl: RDS, resourceNamesSubscribe: ["r"] });
  client.send({ typeUrl: VHDS, resourceNamesSubscribe: ["*"] });
  await client.until(() => client.held(VHDS).size === 1 && client.held(RDS).size === 1);
  const before = client.responses.length;
  rig.change(host("r/b"), resource("CDS", "b"), host("r/a", null), resource("CDS", "a", null));
  await client.until(() => client.held(CDS).size === 1 && !client.held(CDS).has("a"));
  const order = client.responses
    .slice(before)
    .flatMap(({ typeUrl, resources, removedResources }) => [
      ...resources.map(({ name }) => `${typeUrl === CDS ? "CDS" : "VHDS"} +${name}`),
      ...removedResources.map((name) => `${typeUrl === CDS ? "CDS" : "VHDS"} -${name}`),
    ]);
  expect(order).toEqual(["CDS +b", "VHDS +r/b", "VHDS -r/a", "CDS -a"]);
});

test("a whole route configuration is put together once, and anew when a part of it changes", () => {
  const cache = new ResourceCache();
  cache.update("g", [table("r"), host("r/a"), table("other")]);
  cache.markReady();
  const whole = () => cache.resources("g", WHOLE_ROUTES)?.get("r");
  const first = whole();
  expect(whole()).toBe(first);
  cache.update("g", [host("other/b"), host("nobody's/c")]);
  expect(whole()).toBe(first);
  cache.update("g", [host("r/a", "new.com")]);
  expect(whole()?.version).not.toBe(first?.version);
  cache.update("g", [host("r/a")]);
  expect(whole()?.version).toBe(first?.version);
  cache.update("g", [{ ...table("r"), bytes: null }]);
  expect([whole(), cache.resources("g", WHOLE_ROUTES)?.size]).toEqual([undefined, 1]);
});
