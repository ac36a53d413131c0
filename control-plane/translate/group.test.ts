import { create, fromBinary } from "@bufbuild/protobuf";
import { ListValueSchema } from "@bufbuild/protobuf/wkt";
import fc from "fast-check";
import { expect, test } from "vitest";

import { VirtualHostSchema } from "#envoy/config/route/v3/route_components_pb.ts";
import { resourceType } from "#proto/resource-types.ts";
import { GatewayGroupSchema } from "#sluice/model/v1/gateway_group_pb.ts";
import { ServiceSchema } from "#sluice/model/v1/service_pb.ts";

import { keyOf, type StoredObject } from "../model/objects.ts";
import type { ResourceChange } from "./difference.ts";
import { GroupTranslation, type ObjectChange } from "./group.ts";

const set = (object: StoredObject): ObjectChange => ({ key: keyOf(object), object });
const remove = (object: StoredObject): ObjectChange => ({ key: keyOf(object), object: undefined });

const service = (name: string, hosts: string[], path = "/", port = 80): StoredObject => ({
  kind: "service",
  value: create(ServiceSchema, {
    name,
    gatewayGroup: "g",
    hosts,
    upstreams: [{ name: "default", nodes: [{ host: "10.0.0.1", port }] }],
    routes: [{ name: "all", paths: [path] }],
  }),
});

/** Takes changes in as the xDS cache does. */
function take(served: Map<string, string>, changes: readonly ResourceChange[]): void {
  for (const { typeUrl, name, bytes } of changes) {
    if (bytes === null) served.delete(`${typeUrl} ${name}`);
    else served.set(`${typeUrl} ${name}`, Buffer.from(bytes).toString("base64"));
  }
}

const anyService = fc
  .record({
    name: fc.constantFrom("a", "b", "c", "d"),
    hosts: fc.uniqueArray(fc.constantFrom("*", "x.com", "X.com", "y.com", "*.com"), { maxLength: 3 }),
    path: fc.constantFrom("/", "/p", "/*"),
    port: fc.constantFrom(80, 81),
  })
  .map(({ name, hosts, path, port }) => service(name, hosts, path, port));

const anyGroup = fc.uniqueArray(fc.integer({ min: 1, max: 3 }), { maxLength: 3 }).map(
  (ports): StoredObject => ({
    kind: "gatewayGroup",
    value: create(GatewayGroupSchema, { name: "g", listeners: ports.map((port) => ({ name: `l${port}`, port })) }),
  }),
);

const anyChange = fc.oneof(anyService.map(set), anyService.map(set), anyService.map(remove), anyGroup.map(set));

test("after any changes, what is served is what a translation from scratch gives", () => {
  fc.assert(
    fc.property(fc.array(fc.array(anyChange, { maxLength: 4 }), { maxLength: 8 }), (batches) => {
      const translation = new GroupTranslation();
      const served = new Map<string, string>();
      const last = new Map<string, ObjectChange>();
      for (const batch of batches) {
        const { changes, failures } = translation.apply(batch);
        expect(failures).toEqual([]);
        take(served, changes);
        for (const change of batch) last.set(`${change.key.kind} ${change.key.name}`, change);
      }
      if (batches.length === 0) return;

      const scratch = new Map<string, string>();
      // In another order: what comes out must not depend on it.
      take(scratch, new GroupTranslation().apply([...last.values()].reverse()).changes);
      expect(served).toEqual(scratch);
    }),
    { numRuns: 200 },
  );
});

test("an unchanged object changes no resource", () => {
  const translation = new GroupTranslation();
  translation.apply([set(service("a", ["a.com"])), set(service("b", ["b.com"]))]);

  expect(translation.apply([set(service("a", ["a.com"]))])).toEqual({ changes: [], failures: [] });
});

test("a node that moves changes one ClusterLoadAssignment and nothing else", () => {
  const translation = new GroupTranslation();
  translation.apply([set(service("a", ["a.com"])), set(service("b", ["b.com"]))]);

  const { changes } = translation.apply([set(service("a", ["a.com"], "/", 81))]);

  expect(changes).toMatchObject([{ typeUrl: resourceType("EDS").typeUrl, name: "a/default" }]);
});

test("an object that can't be translated keeps its last good resources, and stops no other", () => {
  const translation = new GroupTranslation();
  translation.apply([set(service("a", ["a.com"], "/good"))]);
  const broken = service("a", ["a.com"], "/changed");
  if (broken.kind === "service") {
    const vars = create(ListValueSchema, { values: [{ kind: { case: "boolValue", value: true } }] });
    for (const route of broken.value.routes) route.vars = vars;
  }

  const { changes, failures } = translation.apply([set(broken), set(service("b", ["b.com"]))]);

  expect(failures).toMatchObject([{ key: { name: "a" } }]);
  // Nothing of it has changed: what data planes have goes on.
  const hosts = changes.filter(({ typeUrl }) => typeUrl === resourceType("VHDS").typeUrl);
  expect(hosts.map(({ name }) => name)).toEqual(["default/service:b"]);
});

test("a route that changes costs one virtual host, and never the route configuration", () => {
  const translation = new GroupTranslation();
  translation.apply([set(service("a", ["a.com"])), set(service("b", ["b.com"]))]);

  const { changes } = translation.apply([set(service("a", ["a.com"], "/changed"))]);

  expect(changes.map(({ typeUrl, name }) => [typeUrl, name])).toEqual([
    [resourceType("VHDS").typeUrl, "default/service:a"],
  ]);
  const { routes } = fromBinary(VirtualHostSchema, changes[0]?.bytes ?? new Uint8Array());
  expect(routes[0]?.match?.pathSpecifier.value).toBe("/changed");
});
