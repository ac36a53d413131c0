/** The native proxy's xDS client against another server than ours: go-control-plane's snapshot cache, by delta ADS. */
import { fromJson } from "@bufbuild/protobuf";
import { afterEach, beforeEach, expect, test } from "vitest";

import { ClusterSchema } from "#envoy/config/cluster/v3/cluster_pb.ts";
import { resourceType } from "#proto/resource-types.ts";

import { assignment, cluster, listener, routes } from "../support/envoy-resources.ts";
import { GoControlPlane } from "../support/go-control-plane.ts";
import { NativeClient } from "../support/native-client.ts";
import { freePort } from "../support/ports.ts";
import { waitFor } from "../support/wait.ts";

const WAIT_MS_MAX = 60_000;
const CDS = resourceType("CDS").typeUrl;
const EDS = resourceType("EDS").typeUrl;

let server: GoControlPlane;
let client: NativeClient;

beforeEach(async () => {
  // One that can be had again: the client goes on trying it while nobody listens.
  server = await GoControlPlane.start({ xds: `127.0.0.1:${await freePort()}` });
  await server.put(cluster("a"));
  await server.put(assignment("a", 1_001, 1_002));
  client = new NativeClient({ group: "default", id: "native" }, server.target);
});

afterEach(async () => {
  await client?.stop();
  await server?.program.stop("SIGKILL");
});

const until = (what: string, look: () => boolean | Promise<boolean>) => waitFor(what, look, WAIT_MS_MAX);
/** "Cluster a", in order. */
const names = () =>
  [...client.held().keys()].map((name) => name.split(".").at(-1) ?? "").sort((a, b) => a.localeCompare(b));
const holds = (...expected: string[]) => until(expected.join(), () => names().join() === expected.join());

test("it syncs, follows changes of endpoints, routes and listeners, and drops what is removed", async () => {
  await holds("Cluster a", "ClusterLoadAssignment a");
  const before = client.held().get(`${EDS} a`);
  await server.put(assignment("a", 1_001));
  await until("the changed endpoints", () => client.held().get(`${EDS} a`) !== before);

  await server.put(routes("r", { "/": "a" }));
  await server.put(listener("l", await freePort(), "r"));
  const all = ["Cluster a", "ClusterLoadAssignment a", "Listener l", "RouteConfiguration r"];
  await holds(...all);
  expect(client.live).toBe(true);

  await server.put(cluster("b"));
  await server.put(assignment("b", 1_003));
  await holds("Cluster a", "Cluster b", "ClusterLoadAssignment a", "ClusterLoadAssignment b", ...all.slice(2));
  await server.remove(CDS, "b");
  await server.remove(EDS, "b");
  await holds(...all);
  expect(await server.refusals()).toEqual([]);
});

test("what it can't do it refuses with the field, keeps what it has, and takes the next good version", async () => {
  await holds("Cluster a", "ClusterLoadAssignment a");
  const good = client.held().get(`${CDS} a`);
  await server.put(
    fromJson(ClusterSchema, { name: "a", type: "EDS", lbPolicy: "CLUSTER_PROVIDED", connectTimeout: "1s" }),
  );
  await until("the refusal", async () => (await server.refusals()).length > 0);
  expect((await server.refusals()).join()).toMatch(/a.*lb_policy/);
  expect(client.held().get(`${CDS} a`)).toBe(good);
  const other = fromJson(ClusterSchema, {
    ...{ name: "a", type: "EDS", connectTimeout: "2s" },
    edsClusterConfig: { edsConfig: { ads: {}, resourceApiVersion: "V3" } },
  });
  await server.put(other);
  await until("the next version", () => client.held().get(`${CDS} a`) !== good);
  expect((await server.refusals()).length).toBe(1);
});

test("a server that is killed leaves it what it has; one that comes instead takes over from there", async () => {
  await server.put(cluster("b"));
  await server.put(assignment("b", 1_003));
  await holds("Cluster a", "Cluster b", "ClusterLoadAssignment a", "ClusterLoadAssignment b");
  const version = client.held().get(`${CDS} a`);
  await server.program.stop("SIGKILL");
  expect(names()).toContain("Cluster b");
  // The same "a", no "b", and a "c" that is new.
  server = await GoControlPlane.start({ xds: server.target });
  for (const resource of [cluster("a"), assignment("a", 1_001, 1_002), cluster("c"), assignment("c", 1_004)]) {
    await server.put(resource);
  }
  await holds("Cluster a", "Cluster c", "ClusterLoadAssignment a", "ClusterLoadAssignment c");
  expect(client.held().get(`${CDS} a`)).toBe(version);
});
