import { readFileSync } from "node:fs";
import { join } from "node:path";

import { create, toJson } from "@bufbuild/protobuf";
import fc from "fast-check";
import { expect, test } from "vitest";

import { EndpointHealth, ServiceKeySchema, ServiceSnapshotSchema } from "#sluice/discovery/v1/snapshot_pb.ts";

import { type ServiceState, toSnapshot } from "./endpoints.ts";
import { packEndpoints, unpackEndpoints } from "./slice-endpoints.ts";
import { type EndpointSlice, type Service, type Slice, toServiceInfo, toSlice } from "./slices.ts";
import { SlicesByService } from "./slices-by-service.ts";

/** Recorded from a real API server: see README.md there. */
const recorded = <T>(name: string) =>
  JSON.parse(readFileSync(join(import.meta.dirname, "testdata", name), "utf8")) as { items: T[] };
const slicesOf = (name: string) => recorded<EndpointSlice>(name).items.flatMap((item) => toSlice(item) ?? []);
const servicesOf = (name: string) => recorded<Service>(name).items.map((item) => toServiceInfo(item));

const key = (service: string) => create(ServiceKeySchema, { service, namespace: "shop" });
const options = { ipFamily: "service", observedAtMs: 0 } as const;

function state(service: string, more: Partial<ServiceState> = {}): ServiceState {
  return {
    service: servicesOf("services.json").find(({ name }) => name === service),
    slices: slicesOf("endpointslices.json").filter((slice) => slice.service === service),
    clusterIdentity: "uid",
    discontinuous: false,
    ...more,
  };
}

const healthName = new Map<EndpointHealth, string>([
  [EndpointHealth.HEALTHY, "HEALTHY"],
  [EndpointHealth.DRAINING, "DRAINING"],
  [EndpointHealth.UNHEALTHY, "UNHEALTHY"],
]);

const short = (service: string, more: Partial<ServiceState> = {}, family: "service" | "IPv4" | "IPv6" = "service") =>
  toSnapshot(key(service), state(service, more), { ...options, ipFamily: family }).endpoints.map(
    ({ address, port, health }) => `${address}:${port} ${healthName.get(health)}`,
  );

test("reads what a real API server says of a service with several slices", async () => {
  const snapshot = toSnapshot(key("orders"), state("orders"), options);
  const json = toJson(ServiceSnapshotSchema, { ...snapshot, revision: "-" });
  await expect(`${JSON.stringify(json, undefined, 2)}\n`).toMatchFileSnapshot(
    join(import.meta.dirname, "testdata/orders.snapshot.json"),
  );
  expect(snapshot.revision).toMatch(/^\d+$/);
});

test("an endpoint that terminates drains while it serves, and is unhealthy afterwards", () => {
  expect(short("orders")).toEqual([
    "10.0.0.1:8080 HEALTHY",
    "10.0.0.2:8080 DRAINING",
    "10.0.0.3:8080 UNHEALTHY",
    "10.0.0.4:8081 HEALTHY",
    "10.0.0.5:8080 UNHEALTHY",
  ]);
});

test("unset conditions mean ready", () => {
  expect(short("by-hand")).toEqual(["192.0.2.7:5432 HEALTHY"]);
});

test("a dual-stack service gives the family that it prefers, or the one that was asked for", () => {
  expect(short("dual")).toEqual(["fd00::1:80 HEALTHY"]);
  expect(short("dual", {}, "IPv4")).toEqual(["10.0.1.1:80 HEALTHY"]);
  expect(short("dual", { service: undefined })).toEqual(["10.0.1.1:80 HEALTHY"]);
});

test("ports can be chosen by name and by the number of the Service, which may differ by slice", () => {
  const { endpoints } = toSnapshot(key("orders"), state("orders"), options);
  expect(endpoints.map(({ ports }) => ports["http"])).toEqual([8080, 8080, 8080, 8081, 8080]);
  expect(endpoints.map(({ ports }) => ports["80"])).toEqual([8080, 8080, 8080, 8081, 8080]);
  expect(endpoints.map(({ ports }) => ports["9000"])).toEqual([9001, 9001, 9001, 9001, 9001]);
  // UDP is none of ours.
  expect(Object.keys(endpoints[0]?.ports ?? {})).not.toContain("dns");
});

test("endpoints of a service without ports are there, for upstreams that know the port", () => {
  const portless = slicesOf("endpointslices.json")
    .filter(({ service }) => service === "by-hand")
    .map((slice) => ({ ...slice, ports: [] }));
  expect(short("by-hand", { slices: portless })).toEqual(["192.0.2.7:0 HEALTHY"]);
});

test("a service that is not there is unknown; one without endpoints is empty", () => {
  const nothing = { service: undefined, slices: [] };
  expect(toSnapshot(key("nope"), state("nope", nothing), options)).toMatchObject({ unknownService: true });
  const empty = toSnapshot(key("empty"), state("empty"), options);
  expect([empty.unknownService, empty.endpoints]).toEqual([false, []]);
});

test("an ExternalName service is refused in words that help", () => {
  expect(() => toSnapshot(key("elsewhere"), state("elsewhere"), options)).toThrow(/ExternalName.*orders\.example.*DNS/);
});

const endpoint = fc.record({
  addresses: fc.integer({ min: 1, max: 9 }).map((n) => [`10.0.0.${n}`]),
  conditions: fc.constantFrom({ ready: true }, { ready: false, serving: true, terminating: true }, { ready: false }),
});
const slices: fc.Arbitrary<Slice[]> = fc.array(
  fc.record({
    name: fc.uuid(),
    namespace: fc.constant("shop"),
    service: fc.constant("orders"),
    version: fc.uuid(),
    family: fc.constant("IPv4" as const),
    ports: fc.constantFrom([{ name: "http", port: 80 }], [{ name: "http", port: 81 }]),
    endpoints: fc.array(endpoint, { maxLength: 8 }).map(packEndpoints),
  }),
  { maxLength: 6 },
);

test("whatever order the slices come in, the snapshot is the same, without duplicates, and loses nobody", () => {
  fc.assert(
    fc.property(
      slices.chain((list) => fc.tuple(fc.constant(list), fc.shuffledSubarray(list, { minLength: list.length }))),
      ([list, shuffled]) => {
        const of = (some: Slice[]) =>
          toSnapshot(key("orders"), state("orders", { service: undefined, slices: some }), options);
        const one = of(list);
        const other = of(shuffled);
        const view = ({ address, port, health }: (typeof one.endpoints)[number]) => [address, port, health];
        expect(other.endpoints.map(view)).toEqual(one.endpoints.map(view));
        const at = one.endpoints.map(({ address, port }) => `${address}:${port}`);
        expect(new Set(at).size).toBe(at.length);
        const wanted = list.flatMap(({ ports, endpoints: some }) =>
          unpackEndpoints(some).map(({ address }) => `${address}:${ports?.[0]?.port}`),
        );
        expect(new Set(at)).toEqual(new Set(wanted));
        // Ready anywhere is ready.
        for (const { address, port, health } of one.endpoints) {
          const ready = list.some(
            (slice) =>
              slice.ports?.[0]?.port === port &&
              unpackEndpoints(slice.endpoints).some((some) => some.address === address && some.readiness === "ready"),
          );
          expect(health === EndpointHealth.HEALTHY).toBe(ready);
        }
      },
    ),
  );
});

test("what is listed again stays the object that it was; after a restored backup the same version may say something else", () => {
  const labels = { "kubernetes.io/service-name": "orders" };
  const metadata = { name: "orders-a", namespace: "shop", uid: "1", resourceVersion: "7", labels };
  const sliceAt = (address: string) =>
    ({ metadata, addressType: "IPv4", ports: [{ port: 80 }], endpoints: [{ addresses: [address] }] }) as EndpointSlice;
  const before = toSlice(sliceAt("10.0.0.1"));
  expect(toSlice(sliceAt("10.0.0.1"), before)).toBe(before);
  const restored = toSlice(sliceAt("10.0.0.2"), before);
  expect(restored?.endpoints).toContain("10.0.0.2");
  const slices = new SlicesByService();
  expect(slices.set("shop/orders-a", before as Slice)).toEqual(["shop/orders"]);
  expect(slices.set("shop/orders-a", before as Slice)).toEqual([]);
  expect(slices.set("shop/orders-a", restored as Slice)).toEqual(["shop/orders"]);

  const serviceOn = (port: number): Service => ({
    metadata: { ...metadata, name: "orders" },
    spec: { ports: [{ port }] },
  });
  const info = toServiceInfo(serviceOn(80));
  expect(toServiceInfo(serviceOn(80), info)).toBe(info);
  expect(toServiceInfo(serviceOn(81), info).ports).toEqual([{ name: "", port: 81 }]);
});
