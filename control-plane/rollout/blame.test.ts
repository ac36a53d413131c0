import { create, toBinary } from "@bufbuild/protobuf";
import { expect, test } from "vitest";

import { VirtualHostSchema } from "#envoy/config/route/v3/route_components_pb.ts";
import { RouteConfigurationSchema } from "#envoy/config/route/v3/route_pb.ts";
import { servedType } from "#proto/resource-types.ts";

import { type Blame, refusedResources } from "./blame.ts";

const hosts = [
  { name: "default/service:pay", domains: ["pay.example"], routes: [{ name: "pay/list" }, { name: "pay/refunds" }] },
  {
    name: "default/host:shop.example",
    domains: ["shop.example"],
    routes: [{ name: "orders/all" }, { name: "carts/all" }],
  },
];

const blame: Blame = {
  resource(_, typeUrl, name) {
    if (typeUrl === servedType("RDS").typeUrl) {
      return toBinary(RouteConfigurationSchema, create(RouteConfigurationSchema, { name, virtualHosts: hosts }));
    }
    const host = hosts.find((each) => each.name === name);
    return host && toBinary(VirtualHostSchema, create(VirtualHostSchema, host));
  },
  registryOf: (_, service) => (service === "pay" ? "consul" : undefined),
};

test.each([
  ["RDS", "default", "virtual_hosts[0].routes[1].route: no", ["service pay routes[refunds]"]],
  ["RDS", "default", "virtual_hosts[1].domains: no", ["service orders", "service carts"]],
  ["RDS", "default", "route: unknown cluster 'orders/default'", ["service orders"]],
  ["RDS", "default", "bad route pay/list: no", ["service pay routes[list]"]],
  ["VHDS", "default/service:pay", "routes[1].match: no", ["service pay routes[refunds]"]],
  ["VHDS", "default/host:shop.example", "domains: no", ["service orders", "service carts"]],
  ["VHDS", "default/service:gone", "no", ["service gone"]],
  ["CDS", "pay/blue", "no", ["service pay upstreams[blue]"]],
  ["CDS", "collector/logs.example:4317", "no", ["gateway group prod"]],
  ["EDS", "pay/blue", "no", ["service pay upstreams[blue]", "registry consul"]],
  ["SDS", "certificate/shop.example", "no", ["certificate shop.example"]],
  ["SDS", "ca/clients", "no", ["ca certificate clients"]],
  ["LDS", "web", "no", ["gateway group prod listeners[web]"]],
] as const)("%s %s: %s", (type, name, reason, texts) => {
  const refusal = { typeUrl: servedType(type).typeUrl, reason, names: new Set([name]), publications: undefined };
  const [refused] = refusedResources("prod", { ...refusal, reasons: new Map([[name, reason]]) }, blame, []);
  expect(refused?.objects.map(({ text }) => text)).toEqual(texts);
});

test("where nothing tells whose fault it is, the changed services are named", () => {
  const refusal = { typeUrl: servedType("RDS").typeUrl, reason: "no", names: new Set(["default"]) };
  const changed = [{ kind: "service", gatewayGroup: "prod", name: "carts" }] as const;
  const refused = refusedResources("prod", { ...refusal, reasons: new Map(), publications: undefined }, blame, changed);
  expect(refused).toMatchObject([{ name: "default", reason: "no", objects: [{ text: "service carts" }] }]);
});
