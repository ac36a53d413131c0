import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";

import { VirtualHostSchema } from "#envoy/config/route/v3/route_components_pb.ts";
import { RouteConfigurationSchema } from "#envoy/config/route/v3/route_pb.ts";

import { requestHead } from "../../test/support/request-head.ts";
import type { Init } from "../../test/support/message-init.ts";
import { compileRouteConfiguration, compileVirtualHostResource } from "./compile.ts";
import { compileRouteResource, LiveRouteTable } from "./live-table.ts";

const vhds = { configSource: { configSourceSpecifier: { case: "ads", value: {} } } } as const;

const hostInit = (name: string, domains: string[]): Init<typeof VirtualHostSchema> => ({
  name,
  domains,
  routes: [
    {
      name,
      match: { pathSpecifier: { case: "prefix", value: "/" } },
      action: { case: "directResponse", value: { status: 200 } },
    },
  ],
});

function live(more: Init<typeof RouteConfigurationSchema> = {}): LiveRouteTable {
  const compiled = compileRouteResource(create(RouteConfigurationSchema, { name: "r", vhds, ...more }));
  if (!compiled.ok || !(compiled.value instanceof LiveRouteTable)) throw new Error(JSON.stringify(compiled));
  return compiled.value;
}

function put(table: LiveRouteTable, name: string, ...domains: string[]): void {
  const compiled = compileVirtualHostResource(create(VirtualHostSchema, hostInit(name, domains)), table.settings);
  if (!compiled.ok) throw new Error(JSON.stringify(compiled.problems));
  table.put(compiled.value);
}

const at = (table: LiveRouteTable, authority: string) => table.match(requestHead({ authority }))?.virtualHost;

test("virtual hosts come, change and go by themselves", () => {
  const table = live();
  expect(at(table, "a.com")).toBeUndefined();
  put(table, "r/a", "A.com", "*.a.com", "a.*");
  put(table, "r/b", "b.com", "*");
  expect(["a.com", "x.a.com", "a.org", "b.com", "c.com"].map((host) => at(table, host))).toEqual([
    ...["r/a", "r/a", "r/a", "r/b", "r/b"],
  ]);
  put(table, "r/a", "x.a.com");
  expect(["a.com", "x.a.com", "y.a.com", "a.org"].map((host) => at(table, host))).toEqual(["r/b", "r/a", "r/b", "r/b"]);
  table.remove("r/b");
  table.remove("r/never");
  expect(["a.com", "x.a.com", "b.com"].map((host) => at(table, host))).toEqual([undefined, "r/a", undefined]);
});

test("of two that claim a domain the one whose name sorts first has it, in whatever order they come and go", () => {
  for (const order of [
    ["r/a", "r/b"],
    ["r/b", "r/a"],
  ]) {
    const table = live();
    for (const name of order) put(table, name, "same.com");
    expect(at(table, "same.com")).toBe("r/a");
    table.remove("r/a");
    expect(at(table, "same.com")).toBe("r/b");
    put(table, "r/a", "same.com");
    expect(at(table, "same.com")).toBe("r/a");
  }
});

test("what came by VHDS goes before the route configuration's own virtual hosts, which come back when it is gone", () => {
  const table = live({ virtualHosts: [hostInit("own", ["same.com", "own.com"])] });
  expect(at(table, "same.com")).toBe("own");
  put(table, "r/a", "same.com");
  put(table, "r/a", "same.com", "more.com");
  expect([at(table, "same.com"), at(table, "own.com")]).toEqual(["r/a", "own"]);
  table.remove("r/a");
  expect([at(table, "same.com"), at(table, "more.com")]).toEqual(["own", undefined]);
});

test("virtual hosts have the route configuration's header mutations", () => {
  const table = live({ responseHeadersToRemove: ["x-gone"] });
  put(table, "r/a", "a.com");
  expect(table.match(requestHead({ authority: "a.com" }))?.mutations.response).toBeDefined();
});

test.each([
  ["vhds.config_source", { vhds: { configSource: { configSourceSpecifier: { case: "path", value: "/x" } as const } } }],
  ["vhds.config_source", { vhds: {} }],
  ["max_direct_response_body_size_bytes", { vhds, maxDirectResponseBodySizeBytes: 10 }],
] as const)("it refuses %s that it doesn't obey", (field, init) => {
  const compiled = compileRouteResource(create(RouteConfigurationSchema, { name: "r", ...init }));
  expect(compiled.ok ? [] : compiled.problems.map((problem) => problem.field)).toEqual([field]);
});

test("a route configuration inside of a listener can't take virtual hosts", () => {
  const compiled = compileRouteConfiguration(create(RouteConfigurationSchema, { name: "r", vhds }));
  expect(compiled).toMatchObject({ ok: false, problems: [{ field: "vhds" }] });
});

test.each([
  ["a name without a route configuration", hostInit("a", ["a.com"]), "name"],
  ["no domain", hostInit("r/a", []), "domains"],
  ["a domain twice", hostInit("r/a", ["a.com", "A.com"]), "domains[1]"],
])("a virtual host by itself is refused for %s", (_, init, field) => {
  const compiled = compileVirtualHostResource(create(VirtualHostSchema, init));
  expect(compiled).toMatchObject({ ok: false, problems: [{ field }] });
});
