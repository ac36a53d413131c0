/** What is wanted, what is known of it, and what changed: with a registry whose instances the test reports itself. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { create } from "@bufbuild/protobuf";
import { afterEach, beforeEach, expect, test } from "vitest";

import { EndpointSchema } from "#sluice/discovery/v1/snapshot_pb.ts";
import { type Registry, RegistrySchema } from "#sluice/model/v1/registry_pb.ts";
import { DiscoverySchema } from "#sluice/model/v1/upstream_pb.ts";

import { serviceKey } from "../../discovery/testing/scripted-source.ts";
import { waitFor } from "../../test/support/wait.ts";
import { Endpoints } from "./endpoints.ts";

let dataDir: string;
let endpoints: Endpoints;
let changes: string[];
let warnings: string[];

function start(): Endpoints {
  changes = [];
  warnings = [];
  const made = new Endpoints({ dataDir, log: { info: () => {}, warn: (_, message) => warnings.push(message) } });
  made.onChange((changed) => {
    for (const [group, keys] of changed) for (const key of keys) changes.push(`${group} ${key}`);
  });
  return made;
}

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "sluice-endpoints-"));
  endpoints = start();
});

afterEach(async () => {
  await endpoints.close();
  await rm(dataDir, { recursive: true });
});

const own = (): Registry => create(RegistrySchema, { name: "own", kind: { case: "leases", value: {} } });
const wants = (service: string) => create(DiscoverySchema, { registry: "own", service });
const place = { gatewayGroup: "g", registry: "own" };

function report(service: string, address: string): void {
  const endpoint = create(EndpointSchema, { address, port: 80 });
  endpoints.leases.report(place, [{ service: serviceKey(service), id: address, endpoint, ttlMs: 60_000 }]);
}

const addresses = (service: string) =>
  endpoints.latest("g", wants(service))?.endpoints.map(({ address }) => address) ?? "unknown";

test("only what upstreams name is watched, once however many name it, until none does", async () => {
  endpoints.setRegistry("g", "own", own());
  report("orders", "10.0.0.1");
  report("carts", "10.0.0.2");
  expect(addresses("orders")).toBe("unknown");
  endpoints.setService("g", "a", new Map([["x", wants("orders")]]));
  endpoints.setService("g", "b", new Map([["y", wants("orders")]]));
  await endpoints.settled();
  expect(addresses("orders")).toEqual(["10.0.0.1"]);
  expect(addresses("carts")).toBe("unknown");
  const [registry] = endpoints.registries();
  expect(registry?.supervisor.size).toBe(1);
  expect(endpoints.usersOf("g", "own", serviceKey("orders")).map(({ name }) => name)).toEqual(["a/x", "b/y"]);
  endpoints.setService("g", "a", new Map());
  expect(addresses("orders")).toEqual(["10.0.0.1"]);
  endpoints.setService("g", "b", new Map());
  expect(addresses("orders")).toBe("unknown");
  expect(registry?.supervisor.size).toBe(0);
});

test("a change names its service, and no other", async () => {
  endpoints.setRegistry("g", "own", own());
  report("orders", "10.0.0.1");
  report("carts", "10.0.0.2");
  endpoints.setService(
    "g",
    "a",
    new Map([
      ["x", wants("orders")],
      ["y", wants("carts")],
    ]),
  );
  await waitFor("both", () => changes.length === 2);
  changes.length = 0;
  report("carts", "10.0.0.2");
  report("orders", "10.0.0.3");
  await waitFor("the change", () => changes.length > 0);
  expect(changes).toEqual([`g ["own","orders","","",""]`]);
});

test("a registry that is described differently is watched anew, and what was known of it is served meanwhile", async () => {
  endpoints.setRegistry("g", "own", own());
  report("orders", "10.0.0.1");
  endpoints.setService("g", "a", new Map([["x", wants("orders")]]));
  await endpoints.settled();
  const [before] = endpoints.registries();
  endpoints.setRegistry("g", "own", create(RegistrySchema, { ...own(), description: "told otherwise" }));
  expect([...endpoints.registries()][0]).toBe(before);
  const file = { case: "file", value: { path: "/nonexistent/services.yaml" } } as const;
  endpoints.setRegistry("g", "own", create(RegistrySchema, { name: "own", kind: file }));
  expect(addresses("orders")).toEqual(["10.0.0.1"]);
  const [after] = endpoints.registries();
  await waitFor("its failure", () => after?.supervisor.report(serviceKey("orders"))?.state === "stale");
  expect(addresses("orders")).toEqual(["10.0.0.1"]);
});

test.each([{ first: "the registry" }, { first: "the service" }])(
  "the last good endpoints are there in the next run, before any registry answers, and are doubted only if it has none ($first comes first)",
  async ({ first }) => {
    endpoints.setRegistry("g", "own", own());
    report("orders", "10.0.0.1");
    endpoints.setService("g", "a", new Map([["x", wants("orders")]]));
    await endpoints.settled();
    await endpoints.close();

    endpoints = start();
    if (first === "the registry") endpoints.setRegistry("g", "own", own());
    endpoints.setService("g", "a", new Map([["x", wants("orders")]]));
    expect(addresses("orders")).toEqual(["10.0.0.1"]);
    if (first === "the service") endpoints.setRegistry("g", "own", own());
    const [registry] = endpoints.registries();
    await waitFor("the doubt", () => registry?.supervisor.report(serviceKey("orders"))?.state === "held");
    expect(addresses("orders")).toEqual(["10.0.0.1"]);
    report("orders", "10.0.0.2");
    await waitFor("the new one", () => String(addresses("orders")) === "10.0.0.2");
  },
);

test("a file of the last run that is damaged is warned of, and does no harm", async () => {
  await endpoints.close();
  await writeFile(join(dataDir, "endpoints.bin"), "\xff\xff\xff nonsense");
  endpoints = start();
  expect(warnings).toEqual([expect.stringContaining("can't be read")]);
  endpoints.setRegistry("g", "own", own());
  report("orders", "10.0.0.1");
  endpoints.setService("g", "a", new Map([["x", wants("orders")]]));
  await endpoints.settled();
  await endpoints.close();
  expect((await readFile(join(dataDir, "endpoints.bin"))).includes("10.0.0.1")).toBe(true);
});

test("a service whose registry says nothing is one without instances after a while, and not before", async () => {
  endpoints.setService("g", "a", new Map([["x", wants("orders")]]));
  expect(endpoints.latest("g", wants("orders"))).toBeUndefined();
  await endpoints.settled();
  expect(endpoints.latest("g", wants("orders"))?.endpoints).toEqual([]);
});
