import { create, toBinary } from "@bufbuild/protobuf";
import { expect, test } from "vitest";

import { Cluster_DiscoveryType as DiscoveryType, ClusterSchema } from "#envoy/config/cluster/v3/cluster_pb.ts";
import { VirtualHostSchema } from "#envoy/config/route/v3/route_components_pb.ts";

import type { Init } from "../test/support/message-init.ts";
import { domainsOf, isOfEds } from "./outline.ts";

const cluster = (clusterDiscoveryType: NonNullable<Init<typeof ClusterSchema>["clusterDiscoveryType"]>) =>
  toBinary(ClusterSchema, create(ClusterSchema, { name: "c", clusterDiscoveryType, connectTimeout: { seconds: 1n } }));

test("a cluster of EDS is told from the others", () => {
  expect(isOfEds(cluster({ case: "type", value: DiscoveryType.EDS }))).toBe(true);
  expect(isOfEds(cluster({ case: "type", value: DiscoveryType.STRICT_DNS }))).toBe(false);
  // STATIC is zero, and not there unless somebody says so.
  expect(isOfEds(cluster({ case: "type", value: DiscoveryType.STATIC }))).toBe(false);
  expect(isOfEds(toBinary(ClusterSchema, create(ClusterSchema, { name: "c" })))).toBe(false);
});

test("of the members of the oneof the last one counts, as in protobuf", () => {
  const eds = cluster({ case: "type", value: DiscoveryType.EDS });
  const custom = cluster({ case: "clusterType", value: { name: "own" } });
  expect(isOfEds(Buffer.concat([eds, custom]))).toBe(false);
  expect(isOfEds(Buffer.concat([custom, eds]))).toBe(true);
});

test("the domains of a virtual host, as they are written, wherever its routes stand", () => {
  const domains = ["A.test", "*.b.test"];
  const routes: Init<typeof VirtualHostSchema>["routes"] = [
    { name: "r", match: { pathSpecifier: { case: "prefix", value: "/" } } },
  ];
  const bytes = toBinary(VirtualHostSchema, create(VirtualHostSchema, { name: "r/h", domains, routes }));
  const more = toBinary(VirtualHostSchema, create(VirtualHostSchema, { domains: ["c.test"] }));
  expect(domainsOf(Buffer.concat([bytes, more]))).toEqual([...domains, "c.test"]);
  expect(domainsOf(new Uint8Array())).toEqual([]);
});
