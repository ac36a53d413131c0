/** Every service of discovery, over the wire: what it serves, what it refuses, and what it says of types that have no resources. */
import { connect } from "node:net";

import { fromBinary } from "@bufbuild/protobuf";
import { afterAll, beforeAll, expect, test } from "vitest";

import { VirtualHostSchema } from "#envoy/config/route/v3/route_components_pb.ts";
import { RuntimeSchema } from "#envoy/service/runtime/v3/rtds_pb.ts";
import { servedType, type ServedType } from "#proto/resource-types.ts";

import { startXdsRig } from "../support/xds-rig.ts";
import { clusterOf, namesIn, reason, type Running, service, startRunning } from "./running.ts";

let running: Running;
beforeAll(async () => {
  running = await startRunning(["shop"]);
});
afterAll(() => running[Symbol.asyncDispose]());

const url = (name: ServedType["shortName"]) => servedType(name).typeUrl;

/** Each service with a name that it has, or none. */
const services: [ServedType["shortName"], string, string, string | undefined][] = [
  ["CDS", "cluster.v3.ClusterDiscoveryService", "Clusters", clusterOf("shop")],
  ["EDS", "endpoint.v3.EndpointDiscoveryService", "Endpoints", clusterOf("shop")],
  ["LDS", "listener.v3.ListenerDiscoveryService", "Listeners", "http"],
  ["RDS", "route.v3.RouteDiscoveryService", "Routes", undefined],
  ["SDS", "secret.v3.SecretDiscoveryService", "Secrets", undefined],
  ["SRDS", "route.v3.ScopedRoutesDiscoveryService", "ScopedRoutes", undefined],
  ["RTDS", "runtime.v3.RuntimeDiscoveryService", "Runtime", undefined],
  ["ECDS", "extension.v3.ExtensionConfigDiscoveryService", "ExtensionConfigs", undefined],
  ["VHDS", "route.v3.VirtualHostDiscoveryService", "VirtualHosts", undefined],
  ["LEDS", "endpoint.v3.LocalityEndpointDiscoveryService", "LocalityEndpoints", undefined],
];

const path = (service: string, method: string) => `/envoy.service.${service}/${method}`;

test.each(services)("T6 T2 %s in delta: an empty type_url is its own, another one ends the stream", async (...row) => {
  const [type, service, noun, name] = row;
  const method = path(service, `Delta${noun}`);
  const client = running.delta({ method });
  client.send({ resourceNamesSubscribe: [name ?? "no-such-name"] });
  const response = await client.next();
  expect(response.typeUrl).toBe(url(type));
  if (name !== undefined) expect(namesIn(response)).toEqual([name]);

  const wrong = running.delta({ method });
  wrong.send({ typeUrl: url(type === "CDS" ? "LDS" : "CDS") });
  expect(reason(await wrong.end())).toMatch(/^INVALID_ARGUMENT: this service serves .* only$/);
});

test.each(services.filter(([type]) => !servedType(type).deltaOnly))(
  "T6 T2 %s in state of the world: an empty type_url is its own, another one ends the stream",
  async (type, service, noun, name) => {
    const method = path(service, `Stream${noun}`);
    const client = running.sotw({ method });
    const resourceNames = name === undefined ? [] : [name];
    // Of a type that answers only what exists, nothing can come: then the other half of this test is the test.
    if (name !== undefined || servedType(type).wildcard) {
      client.send({ resourceNames });
      expect((await client.next()).typeUrl).toBe(url(type));
    }
    const wrong = running.sotw({ method });
    wrong.send({ typeUrl: url(type === "CDS" ? "LDS" : "CDS") });
    expect(reason(await wrong.end())).toMatch(/^INVALID_ARGUMENT: this service serves .* only$/);
  },
);

test("T6 VHDS and LEDS have no state-of-the-world method", async () => {
  for (const [service, method] of [
    ["route.v3.VirtualHostDiscoveryService", "StreamVirtualHosts"],
    ["endpoint.v3.LocalityEndpointDiscoveryService", "StreamLocalityEndpoints"],
  ] as const) {
    const client = running.sotw({ method: path(service, method) });
    client.send({});
    expect(reason(await client.end())).toMatch(/^UNIMPLEMENTED/);
  }
});

test("T4 T6 VHDS on the state-of-the-world ADS is an unknown type: silence, and the others go on", async () => {
  const client = running.sotw();
  client.send({ typeUrl: url("VHDS"), resourceNames: ["r/a.example.com"] });
  client.subscribe(url("CDS"));
  expect((await client.next()).typeUrl).toBe(url("CDS"));
});

test("D10 SRDS: asked for everything, there is nothing, and that is said", async () => {
  const client = running.delta();
  client.send({ typeUrl: url("SRDS") });
  const { typeUrl, resources, removedResources } = await client.next();
  expect([typeUrl, resources, removedResources]).toEqual([url("SRDS"), [], []]);
});

test("O1 D13 VHDS: asked for everything, each virtual host comes under its own name, which begins with its route configuration", async () => {
  const client = running.delta();
  client.send({ typeUrl: url("VHDS") });
  const { resources } = await client.next();
  expect(resources).not.toEqual([]);
  for (const { name, resource } of resources) {
    expect(name).toMatch(/^default\/(service|host):/);
    expect(fromBinary(VirtualHostSchema, resource?.value ?? new Uint8Array()).name).toBe(name);
  }
});

test("X1 X3 an xdstp name is a name like any other: it doesn't exist, in delta, and is not told in state of the world", async () => {
  const names = [
    "xdstp://sluice/envoy.config.cluster.v3.Cluster/shop",
    "xdstp:///envoy.config.cluster.v3.ClusterCollection/x",
  ];
  const client = running.delta();
  client.send({ typeUrl: url("CDS"), resourceNamesSubscribe: names });
  expect((await client.next()).removedResources).toEqual(names);
  const streamed = running.sotw();
  streamed.subscribe(url("CDS"), names);
  expect((await streamed.next()).resources).toEqual([]);
});

const PING = 6;

/** The types of whole frames (RFC 9113, 4.1). */
function frameTypes(bytes: Buffer): number[] {
  const types: number[] = [];
  for (let at = 0; at + 9 <= bytes.length; at += 9 + bytes.readUIntBE(at, 3)) types.push(bytes[at + 3] ?? 0);
  return types;
}

test("T8 the server pings, so that a connection that is dead is noticed, and drops one that doesn't answer", async () => {
  // Nothing else ends the connection.
  const limits = { keepaliveTimeMs: 100, keepaliveTimeoutMs: 100, firstRequestTimeoutMs: 600_000 };
  await using rig = await startXdsRig([], { limits });
  const [host = "", port = ""] = rig.server.address.split(":");
  const socket = connect(Number(port), host);
  const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  socket.on("error", () => {});
  // The preface and empty settings, and then never a word more (RFC 9113, 3.4).
  socket.write(
    Buffer.concat([Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Buffer.from("000000040000000000", "hex")]),
  );
  let received = Buffer.alloc(0);
  const pinged = new Promise<void>((resolve) => {
    socket.on("data", (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      if (frameTypes(received).includes(PING)) resolve();
    });
  });
  await pinged;
  await closed;
});

test.each(["ECDS", "LEDS", "SRDS", "SDS"] as const)("D4 O3 O4 %s: an unknown name doesn't exist", async (type) => {
  const client = running.delta();
  client.send({ typeUrl: url(type), resourceNamesSubscribe: ["x", "y"] });
  const { resources, removedResources } = await client.next();
  expect([resources, removedResources.sort()]).toEqual([[], ["x", "y"]]);
});

test("X2 an empty glob collection is answered as removed under its URL", async () => {
  const glob = "xdstp://sluice/envoy.config.endpoint.v3.LbEndpoint/shop/*";
  const client = running.delta();
  client.send({ typeUrl: url("LEDS"), resourceNamesSubscribe: [glob] });
  expect((await client.next()).removedResources).toEqual([glob]);
});

test("S13 SRDS in state of the world: full state, and empty", async () => {
  const client = running.sotw();
  client.subscribe(url("SRDS"));
  const { resources, versionInfo } = await client.next();
  expect(resources).toEqual([]);
  expect(versionInfo).not.toBe("");
});

test("O1 VHDS: a host that doesn't exist is a resource without a body that has the asked name as its alias", async () => {
  const client = running.delta();
  const name = "routes/a.example.com";
  client.send({ typeUrl: url("VHDS") });
  await client.next();
  client.send({ typeUrl: url("VHDS"), resourceNamesSubscribe: [name] });
  const { resources, removedResources } = await client.next();
  expect(removedResources).toEqual([]);
  expect(resources).toMatchObject([{ name, aliases: [name] }]);
  expect(resources[0]?.resource).toBeUndefined();
});

/** Waits until a virtual host is served. */
async function hostIsServed(own: Running, name: string): Promise<void> {
  const watcher = own.delta({ node: { id: "watcher", cluster: "default" } });
  watcher.send({ typeUrl: url("VHDS") });
  await watcher.until(() => watcher.held(url("VHDS")).has(name));
}

test("O1 VHDS by host: the virtual host that takes it comes under its own name, once, with all that was asked for as its aliases", async () => {
  await using own = await startRunning();
  const twoHosts = { ...service("two"), hosts: ["a.example.com", "b.example.com"] };
  await own.apply([twoHosts, { ...service("wild"), hosts: ["*.example.org"] }]);
  await hostIsServed(own, "default/service:wild");
  const client = own.delta();
  const asked = ["default/a.example.com", "default/b.example.com:8080", "default/x.y.example.org"];
  client.send({ typeUrl: url("VHDS"), resourceNamesSubscribe: asked });
  const { resources, removedResources } = await client.next();
  expect(removedResources).toEqual([]);
  const aliasesOf = (list: typeof resources) =>
    Object.fromEntries(list.map(({ name, aliases }) => [name, aliases.toSorted()]));
  expect(aliasesOf(resources)).toEqual({
    "default/service:two": asked.slice(0, 2),
    "default/service:wild": asked.slice(2),
  });
  for (const { name, resource } of resources) {
    expect(fromBinary(VirtualHostSchema, resource?.value ?? new Uint8Array()).name).toBe(name);
  }
  // Its changes come with the same aliases, and those of others don't come.
  await own.apply([service("other"), { ...twoHosts, routes: [{ name: "all", paths: ["/v2"] }] }]);
  const changed = await client.next();
  expect(aliasesOf(changed.resources)).toEqual({ "default/service:two": asked.slice(0, 2) });
  // D3: asked for again, it is answered again.
  client.send({ typeUrl: url("VHDS"), resourceNamesSubscribe: asked.slice(0, 1) });
  expect(aliasesOf((await client.next()).resources)).toEqual({ "default/service:two": asked.slice(0, 2) });
  // D6: what it no longer asks for by any name, it is told nothing of.
  client.send({ typeUrl: url("VHDS"), resourceNamesUnsubscribe: asked.slice(0, 2) });
  const routes = (path: string) => [{ name: "all", paths: [path] }];
  await own.apply([{ ...twoHosts, routes: routes("/v3") }]);
  await own.apply([{ ...service("wild"), hosts: ["*.example.org"], routes: routes("/v4") }]);
  expect(aliasesOf((await client.next()).resources)).toEqual({ "default/service:wild": asked.slice(2) });
});

test("O1 VHDS by host: a host that comes to be, moves to another virtual host, or goes, is told", async () => {
  await using own = await startRunning(["shop"]);
  await hostIsServed(own, "default/service:shop");
  const client = own.delta();
  const asked = "default/late.example.com";
  client.send({ typeUrl: url("VHDS"), resourceNamesSubscribe: [asked] });
  expect((await client.next()).resources).toMatchObject([{ name: asked, aliases: [asked] }]);
  const late = { ...service("late"), hosts: ["late.example.com"] };
  await own.apply([late]);
  expect((await client.next()).resources).toMatchObject([{ name: "default/service:late", aliases: [asked] }]);
  await own.apply([
    { ...late, hosts: ["elsewhere.example.com"] },
    { ...service("heir"), hosts: ["late.example.com"] },
  ]);
  await client.until(() => client.held(url("VHDS")).has("default/service:heir"));
  const moved = client.responses.flatMap(({ resources }) => resources).slice(2);
  expect(Object.fromEntries(moved.map(({ name, aliases }) => [name, aliases]))).toEqual({
    "default/service:heir": [asked],
    "default/service:late": [],
  });
  await own.apply([service("shop")], true);
  const removed = () => client.responses.flatMap(({ removedResources }) => removedResources);
  await client.until(() => removed().length === 2);
  expect(removed().toSorted()).toEqual(["default/service:heir", "default/service:late"]);
  const seen = client.responses.length;
  client.send({ typeUrl: url("VHDS"), resourceNamesSubscribe: [asked] });
  await client.until(() => client.responses.length > seen);
  const last = client.responses.at(-1)?.resources;
  expect(last?.[0]?.resource).toBeUndefined();
  expect(last).toMatchObject([{ name: asked, aliases: [asked] }]);
});

test("O2 a cluster on demand, beside the wildcard: the one that is there comes, the one that isn't is removed", async () => {
  const client = running.delta();
  client.send({ typeUrl: url("CDS"), resourceNamesSubscribe: ["*"] });
  await client.next();
  client.send({ typeUrl: url("CDS"), resourceNamesSubscribe: [clusterOf("shop"), "no-such-cluster"] });
  const { resources, removedResources } = await client.next();
  expect([resources.map(({ name }) => name), removedResources]).toEqual([[clusterOf("shop")], ["no-such-cluster"]]);
});

test("O5 RTDS: an unknown layer is empty, in delta and in state of the world", async () => {
  const incremental = running.delta();
  incremental.send({ typeUrl: url("RTDS"), resourceNamesSubscribe: ["layer"] });
  const [inDelta] = (await incremental.next()).resources;
  const streamed = running.sotw();
  streamed.subscribe(url("RTDS"), ["layer"]);
  const response = await streamed.next();
  expect(response.versionInfo).not.toBe("");
  expect(inDelta?.name).toBe("layer");
  for (const any of [inDelta?.resource, response.resources[0]]) {
    expect(any?.typeUrl).toBe(url("RTDS"));
    const runtime = fromBinary(RuntimeSchema, any?.value ?? new Uint8Array());
    expect([runtime.name, runtime.layer]).toEqual(["layer", {}]);
  }
});

test("O5 RTDS: a client that comes back with an unknown layer is not told that it is gone", async () => {
  const before = running.delta();
  before.send({ typeUrl: url("RTDS"), resourceNamesSubscribe: ["layer"] });
  const version = (await before.next()).resources[0]?.version ?? "";
  const again = running.delta();
  const initialResourceVersions = { layer: version };
  again.send({ typeUrl: url("RTDS"), resourceNamesSubscribe: ["layer"], initialResourceVersions });
  again.send({ typeUrl: url("RTDS"), resourceNamesSubscribe: ["other"] });
  const response = await again.next();
  expect([namesIn(response), response.removedResources]).toEqual([["other"], []]);
});
