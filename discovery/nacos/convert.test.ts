import { readFileSync } from "node:fs";
import { join } from "node:path";

import { create } from "@bufbuild/protobuf";
import fc from "fast-check";
import { expect, test } from "vitest";

import { EndpointHealth, ServiceKeySchema } from "#sluice/discovery/v1/snapshot_pb.ts";

import { type NacosInstance, type NacosServiceInfo, toSnapshot } from "./convert.ts";

const recorded = (name: string) =>
  (JSON.parse(readFileSync(join(import.meta.dirname, "testdata", name), "utf8")) as { serviceInfo: NacosServiceInfo })
    .serviceInfo;
const key = (cluster = "") => create(ServiceKeySchema, { service: "orders", cluster });
const of = (info: NacosServiceInfo, cluster = "") => toSnapshot(key(cluster), info, { observedAtMs: 0 });
const host = (more: NacosInstance): NacosInstance => ({ ip: "10.0.0.1", port: 80, ...more });

test("reads what Nacos 3 answers to a subscription", () => {
  const snapshot = of(recorded("subscribe-3.json"));
  expect(snapshot.revision).toBe("1795238291361");
  expect(snapshot.endpoints.map(({ address, port, weight }) => [address, port, weight])).toEqual([
    ["10.0.0.1", 8080, 250],
    ["10.0.0.2", 8080, 0],
    ["10.0.0.3", 8080, 100],
  ]);
  expect(snapshot.endpoints[0]).toMatchObject({
    health: EndpointHealth.HEALTHY,
    zone: "z1",
    metadata: { zone: "z1", "nacos.cluster": "c1", "nacos.ephemeral": "false" },
  });
});

test("reads what Nacos 3 pushes and what Nacos 2 answers", () => {
  expect(of(recorded("notify-3.json")).endpoints).toMatchObject([
    { address: "10.1.0.1", port: 80, weight: 50, metadata: { a: "b", "nacos.ephemeral": "true" } },
  ]);
  expect(of(recorded("subscribe-2.json")).endpoints).toMatchObject([{ address: "10.1.0.1", port: 80, weight: 100 }]);
});

test("takes the clusters that are asked for", () => {
  const addresses = (cluster: string) =>
    of(recorded("subscribe-3.json"), cluster).endpoints.map(({ address }) => address);
  expect(addresses("c1")).toEqual(["10.0.0.1"]);
  expect(addresses("c1,DEFAULT")).toHaveLength(3);
  expect(addresses("c9")).toEqual([]);
});

test("leaves out what is switched off, and marks what is unhealthy", () => {
  const { endpoints } = of({
    hosts: [host({ enabled: false }), host({ ip: "10.0.0.2", healthy: false }), host({ ip: "10.0.0.3" })],
  });
  expect(endpoints.map(({ address, health }) => [address, health])).toEqual([
    ["10.0.0.2", EndpointHealth.UNHEALTHY],
    ["10.0.0.3", EndpointHealth.HEALTHY],
  ]);
});

test("nothing is nothing", () => {
  expect(of({ hosts: null }).endpoints).toEqual([]);
  expect(of({}).endpoints).toEqual([]);
});

test("a host name stands for each of its addresses; an unknown one for none", () => {
  const info = { hosts: [host({ ip: "db.example" }), host({ ip: "gone.example" })] };
  const addresses = new Map([["db.example", ["10.0.0.1", "2001:db8::1"]]]);
  const { endpoints } = toSnapshot(key(), info, { observedAtMs: 0, addresses });
  expect(endpoints.map(({ address, hostname }) => [address, hostname])).toEqual([
    ["10.0.0.1", "db.example"],
    ["2001:db8::1", "db.example"],
  ]);
});

test.each([{ ip: "" }, { port: -1 }, { port: 65_536 }, { port: 1.5 }])("an instance at %j is a bad answer", (where) => {
  expect(() => of({ hosts: [host(where)] })).toThrow(/an instance is at/);
});

test("weights keep their proportions, and only 0 means no traffic", () => {
  fc.assert(
    fc.property(fc.double({ min: 0, max: 20_000, noNaN: true }), (weight) => {
      const scaled = of({ hosts: [host({ weight })] }).endpoints[0]?.weight ?? -1;
      expect(Number.isInteger(scaled)).toBe(true);
      expect(scaled > 0).toBe(weight > 0);
      expect(scaled).toBeLessThanOrEqual(1_000_000);
      if (weight >= 0.01 && weight <= 10_000) expect(Math.abs(scaled - weight * 100)).toBeLessThanOrEqual(0.5 + 1e-6);
    }),
  );
});
