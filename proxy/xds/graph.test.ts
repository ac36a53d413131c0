import { fromJson, type Message, toBinary } from "@bufbuild/protobuf";
import { beforeEach, expect, test } from "vitest";

import { ListenerSchema } from "#envoy/config/listener/v3/listener_pb.ts";
import { SecretSchema } from "#envoy/extensions/transport_sockets/tls/v3/secret_pb.ts";
import { registry } from "#proto/registry.ts";
import { type ResourceType, resourceType } from "#proto/resource-types.ts";

import { Graph, WARMING_MS_MAX } from "./graph.ts";
import {
  assignment,
  cluster,
  listener,
  routes,
  takingVirtualHosts,
  virtualHost,
} from "../../test/support/envoy-resources.ts";

type ShortName = ResourceType["shortName"];
const make = { CDS: cluster, EDS: (name: string) => assignment(name, 9101) };

let graph: Graph;
let nowMs = 0;

beforeEach(() => {
  graph = new Graph();
  nowMs = 0;
});

/** Puts a resource, and settles; what came out, as "+CDS a" and "-CDS a". */
function put(shortName: ShortName, name: string, message = make[shortName as "CDS" | "EDS"](name)): string[] {
  const type = resourceType(shortName);
  graph.put(type, { name, version: "1", bytes: toBinary(type.schema, message), message, updatedMs: 0 });
  return settle();
}

function remove(shortName: ShortName, name: string): string[] {
  graph.remove(resourceType(shortName), name);
  return settle();
}

const settle = () =>
  graph.settle(nowMs).map(({ typeUrl, name, resource }) => {
    const shortName = (["CDS", "EDS", "SDS", "LDS", "RDS", "VHDS"] as const).find(
      (one) => resourceType(one).typeUrl === typeUrl,
    );
    return `${resource === null ? "-" : "+"}${shortName} ${name}`;
  });

const needed = (shortName: ShortName): Iterable<string> => graph.needed(resourceType(shortName)) ?? [];

const putRoutes = (name: string, ...clusters: string[]) =>
  put("RDS", name, routes(name, Object.fromEntries(clusters.map((to) => [`/${to}`, to]))));
const putListener = (name: string, routeConfig: string) => put("LDS", name, listener(name, 8080, routeConfig));

/** A listener "l" with routes "r" to the cluster "a", in use. */
function whole(): void {
  put("CDS", "a");
  put("EDS", "a");
  putListener("l", "r");
  putRoutes("r", "a");
}

test("W7 nothing is used before all that it names has come, and then all at once", () => {
  expect(putListener("l", "r")).toEqual([]);
  expect(putRoutes("r", "a")).toEqual([]);
  expect(put("CDS", "a")).toEqual([]);
  expect(graph.waiting(resourceType("LDS"))).toEqual(["l"]);
  expect(put("EDS", "a")).toEqual(["+CDS a", "+EDS a", "+RDS r", "+LDS l"]);
  expect(graph.nextDeadlineMs()).toBeUndefined();
});

test("it asks for the endpoints and routes that clusters and listeners name", () => {
  put("CDS", "a");
  putListener("l", "r");
  expect([...needed("EDS")]).toEqual(["a"]);
  expect([...needed("RDS")]).toEqual(["r"]);
  remove("CDS", "a");
  remove("LDS", "l");
  expect([...needed("EDS")].length).toBe(0);
  expect([...needed("RDS")].length).toBe(0);
});

test("W7 a cluster without an answer about its endpoints goes in empty after 15 s", () => {
  expect(put("CDS", "a")).toEqual([]);
  expect(graph.nextDeadlineMs()).toBe(WARMING_MS_MAX);
  nowMs = WARMING_MS_MAX;
  expect(settle()).toEqual(["+CDS a"]);
  expect(put("EDS", "a")).toEqual(["+EDS a"]);
});

test("D4 a cluster whose endpoints don't exist need not wait", () => {
  put("CDS", "a");
  expect(remove("EDS", "a")).toEqual(["+CDS a"]);
});

test("a changed endpoint set goes through alone", () => {
  whole();
  expect(put("EDS", "a", assignment("a", 9102))).toEqual(["+EDS a"]);
});

test("W7 changed routes replace the old ones only when their new cluster is there", () => {
  whole();
  expect(putRoutes("r", "a", "b")).toEqual([]);
  expect(put("CDS", "b")).toEqual([]);
  expect(put("EDS", "b")).toEqual(["+CDS b", "+EDS b", "+RDS r"]);
});

test("routes to a cluster that never comes are used after 15 s: those to other clusters are right", () => {
  whole();
  putRoutes("r", "a", "missing");
  nowMs = WARMING_MS_MAX;
  expect(settle()).toEqual(["+RDS r"]);
});

test("the time of waiting doesn't begin anew when the resource changes again", () => {
  whole();
  putRoutes("r", "a", "missing");
  nowMs = WARMING_MS_MAX;
  expect(putRoutes("r", "a", "missing", "missing-too")).toEqual(["+RDS r"]);
});

test("a listener that moves to another route table keeps the old one until the new one is there", () => {
  whole();
  expect(putListener("l", "r2")).toEqual([]);
  expect([...needed("RDS")].sort()).toEqual(["r", "r2"]);
  expect(putRoutes("r2", "a")).toEqual(["+RDS r2", "+LDS l", "-RDS r"]);
  expect([...needed("RDS")]).toEqual(["r2"]);
});

test("W6 a cluster that is gone stays until no route names it", () => {
  whole();
  put("CDS", "b");
  put("EDS", "b");
  expect(remove("CDS", "a")).toEqual([]);
  expect(putRoutes("r", "b")).toEqual(["+RDS r", "-CDS a", "-EDS a"]);
});

test("W6 a cluster that is gone but named for 15 s goes", () => {
  whole();
  remove("CDS", "a");
  nowMs = WARMING_MS_MAX;
  expect(settle()).toEqual(["-CDS a", "-EDS a"]);
});

test("a listener that is gone takes its routes with it", () => {
  whole();
  expect(remove("LDS", "l")).toEqual(["-LDS l", "-RDS r"]);
});

test("routes and endpoints that the control plane takes away stay while they are named, as in Envoy", () => {
  whole();
  expect(remove("RDS", "r")).toEqual([]);
  expect(remove("EDS", "a")).toEqual([]);
  expect(graph.all()).toHaveLength(4);
});

test("a cluster that comes back before it was removed stays", () => {
  whole();
  remove("CDS", "a");
  expect(put("CDS", "a")).toEqual(["+CDS a"]);
  nowMs = 2 * WARMING_MS_MAX;
  expect(settle()).toEqual([]);
});

test("D11 to remove what isn't there is harmless", () => {
  for (const shortName of ["CDS", "EDS", "LDS", "RDS"] as const) expect(remove(shortName, "x")).toEqual([]);
});

test("all() can be applied from nothing", () => {
  whole();
  expect(graph.all().map(({ name }) => name)).toEqual(["a", "a", "r", "l"]);
});

const tlsListener = (name: string, ...secrets: string[]): Message =>
  fromJson(
    ListenerSchema,
    {
      name,
      filterChains: [
        {
          transportSocket: {
            name: "tls",
            typedConfig: {
              "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
              commonTlsContext: {
                tlsCertificateSdsSecretConfigs: secrets.map((one) => ({ name: one, sdsConfig: { ads: {} } })),
              },
            },
          },
        },
      ],
    },
    { registry },
  );
const putSecret = (name: string) => put("SDS", name, fromJson(SecretSchema, { name }));

test("a listener waits for its secrets, and as long as Envoy waits", () => {
  expect(put("LDS", "l", tlsListener("l", "one", "two"))).toEqual([]);
  expect([...needed("SDS")]).toEqual(["one", "two"]);
  expect(putSecret("one")).toEqual(["+SDS one"]);
  expect(putSecret("two")).toEqual(["+SDS two", "+LDS l"]);
  expect(put("LDS", "late", tlsListener("late", "never"))).toEqual([]);
  nowMs += WARMING_MS_MAX;
  expect(settle()).toEqual(["+LDS late"]);
});

test("a listener that waits for a secret, and then for routes that never come, leaves no deadline behind", () => {
  put("LDS", "l", tlsListener("l", "s"));
  expect(graph.nextDeadlineMs()).toBe(WARMING_MS_MAX);
  nowMs = 5_000;
  expect(putListener("l", "r")).toEqual([]);
  expect(graph.nextDeadlineMs()).toBeUndefined();
});

test("a secret changes alone, stays while it is named though it was removed, and goes with the last that names it", () => {
  put("LDS", "l", tlsListener("l", "one"));
  putSecret("one");
  expect(putSecret("one")).toEqual(["+SDS one"]);
  expect(remove("SDS", "one")).toEqual([]);
  expect(put("LDS", "m", tlsListener("m", "one"))).toEqual(["+LDS m"]);
  expect(remove("LDS", "l")).toEqual(["-LDS l"]);
  expect(remove("LDS", "m")).toEqual(["-LDS m", "-SDS one"]);
});

/** A route table "r" that takes virtual hosts, with the listener "l" and the cluster "a"; in use with the virtual host "r/a". */
function wholeByHosts(): void {
  graph.virtualHostsCame();
  put("CDS", "a");
  put("EDS", "a");
  putListener("l", "r");
  putTable("r");
  putHost("r/a", "a", "a.com");
}

const putTable = (name: string) => put("RDS", name, takingVirtualHosts(name));
const putHost = (name: string, to: string, ...domains: string[]) => put("VHDS", name, virtualHost(name, domains, to));

test("O1 a route table that takes virtual hosts waits until they are told, and then for their clusters, at first", () => {
  put("CDS", "a");
  put("EDS", "a");
  putListener("l", "r");
  expect(putTable("r")).toEqual([]);
  expect([...needed("VHDS")]).toEqual(["*"]);
  graph.virtualHostsCame();
  expect(putHost("r/b", "b", "b.com")).toEqual([]);
  expect(putHost("r/a", "a", "a.com")).toEqual([]);
  put("CDS", "b");
  expect(put("EDS", "b")).toEqual(["+CDS b", "+EDS b", "+RDS r", "+VHDS r/b", "+VHDS r/a", "+LDS l"]);
});

test("without an answer about virtual hosts, a route table goes in after 15 s", () => {
  put("CDS", "a");
  put("EDS", "a");
  putListener("l", "r");
  putTable("r");
  nowMs = WARMING_MS_MAX;
  expect(settle()).toEqual(["+RDS r", "+LDS l"]);
});

test("W7 a virtual host that waits for its cluster holds back no other", () => {
  wholeByHosts();
  expect(putHost("r/b", "b", "b.com")).toEqual([]);
  expect(putHost("r/a", "a", "a.com", "a.org")).toEqual(["+VHDS r/a"]);
  expect(graph.waiting(resourceType("VHDS"))).toEqual(["r/b"]);
  put("CDS", "b");
  expect(put("EDS", "b")).toEqual(["+CDS b", "+EDS b", "+VHDS r/b"]);
  expect(graph.nextDeadlineMs()).toBeUndefined();
});

test("a domain that moves to a virtual host that waits stays where it is until then", () => {
  wholeByHosts();
  putHost("r/b", "b", "A.com");
  expect(remove("VHDS", "r/a")).toEqual([]);
  put("CDS", "b");
  expect(put("EDS", "b")).toEqual(["+CDS b", "+EDS b", "+VHDS r/b", "-VHDS r/a"]);
});

test("W6 a cluster goes after the virtual host that named it", () => {
  wholeByHosts();
  expect(remove("CDS", "a")).toEqual([]);
  expect(remove("VHDS", "r/a")).toEqual(["-VHDS r/a", "-CDS a", "-EDS a"]);
  expect(graph.nextDeadlineMs()).toBeUndefined();
});

test("a route table that changes is followed by its virtual hosts, which are compiled with what it says", () => {
  wholeByHosts();
  expect(putTable("r")).toEqual(["+RDS r", "+VHDS r/a"]);
});

test("a route table that goes takes its virtual hosts along, and one that comes again finds what came for it", () => {
  wholeByHosts();
  putListener("l2", "r2");
  putTable("r2");
  expect(remove("LDS", "l")).toEqual(["-LDS l", "-RDS r"]);
  expect([...graph.active(resourceType("VHDS")).keys()]).toEqual([]);
  expect(putListener("l", "r")).toEqual([]);
  expect(putTable("r")).toEqual(["+RDS r", "+VHDS r/a", "+LDS l"]);
  remove("LDS", "l");
  remove("LDS", "l2");
  expect([...needed("VHDS")]).toEqual([]);
  expect(graph.received(resourceType("VHDS")).size).toBe(0);
  expect(graph.nextDeadlineMs()).toBeUndefined();
});

test("from a route table with virtual hosts in it to one that takes them, there is no moment without", () => {
  whole();
  expect(putTable("r")).toEqual([]);
  graph.virtualHostsCame();
  expect(putHost("r/a", "a", "a.com")).toEqual(["+RDS r", "+VHDS r/a"]);
  expect(putRoutes("r", "a")).toEqual(["+RDS r"]);
  expect([...graph.active(resourceType("VHDS")).keys()]).toEqual([]);
});
