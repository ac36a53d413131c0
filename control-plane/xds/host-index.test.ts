import { create, toBinary } from "@bufbuild/protobuf";
import { expect, test } from "vitest";

import { VirtualHostSchema } from "#envoy/config/route/v3/route_components_pb.ts";
import { resourceType } from "#proto/resource-types.ts";

import { ResourceCache } from "./cache.ts";
import { hostIndexOf } from "./host-index.ts";

const { typeUrl } = resourceType("VHDS");

const host = (name: string, ...domains: string[]) => ({
  ...{ typeUrl, name },
  bytes: toBinary(VirtualHostSchema, create(VirtualHostSchema, { name, domains })),
});

function indexed(...hosts: ReturnType<typeof host>[]) {
  const cache = new ResourceCache();
  cache.update("g", hosts);
  cache.markReady();
  const index = () => {
    const set = cache.resources("g", typeUrl);
    if (set === undefined) throw new Error("no set");
    return hostIndexOf(set);
  };
  return { cache, index };
}

test("O1 of the domains that take a host the most specific decides: itself, the longest suffix, the longest prefix, all", () => {
  const { index } = indexed(
    host("r/exact", "a.b.test", "UPPER.test"),
    host("r/long", "*.b.test"),
    host("r/short", "*.test", "*-x.test"),
    host("r/prefix", "api.*", "api.v1.*"),
    host("other/all", "*"),
  );
  const found = (name: string) => index().find(name);
  expect(found("r/a.b.test")).toBe("r/exact");
  expect(found("r/upper.TEST")).toBe("r/exact");
  expect(found("r/c.b.test")).toBe("r/long");
  expect(found("r/c.test:8080")).toBe("r/short");
  expect(found("r/c-x.test")).toBe("r/short");
  // A suffix goes before a prefix, however long.
  expect(found("r/api.v1.test")).toBe("r/short");
  expect(found("r/api.example")).toBe("r/prefix");
  expect(found("other/anything")).toBe("other/all");
  // The "*" stands for something, and each route configuration has its own hosts.
  for (const name of ["r/.b.test.", "r/api.", "r/anything", "none/a.b.test", "a.b.test", "r/"]) {
    expect(found(name), name).toBeUndefined();
  }
  expect(found(`r/${"a".repeat(300)}.test`)).toBeUndefined();
});

test("O1 the index stays while no domain comes, goes or moves", () => {
  const { cache, index } = indexed(host("r/a", "a.test"), host("r/b", "b.test"));
  const before = index();
  cache.update("g", [host("r/c"), { typeUrl, name: "r/c", bytes: null }]);
  expect(index()).toBe(before);
  cache.update("g", [host("r/a", "a.test", "a2.test")]);
  expect(index()).not.toBe(before);
  expect(index().find("r/a2.test")).toBe("r/a");
});
