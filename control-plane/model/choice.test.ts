/** What an upstream takes of a service's endpoints, and what people are told if that is nothing. */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import fc from "fast-check";
import { expect, test } from "vitest";

import { type Endpoint, EndpointHealth, EndpointSchema } from "#sluice/discovery/v1/snapshot_pb.ts";
import { type Discovery, DiscoverySchema } from "#sluice/model/v1/upstream_pb.ts";

import { choose, takesAll } from "./choice.ts";
import { whyNoneChosen } from "./none-chosen.ts";

const { UNKNOWN, HEALTHY, DRAINING, UNHEALTHY } = EndpointHealth;

const endpoint = (init: MessageInitShape<typeof EndpointSchema>): Endpoint =>
  create(EndpointSchema, { address: "10.0.0.1", port: 80, health: HEALTHY, ...init });
const wish = (init: MessageInitShape<typeof DiscoverySchema>): Discovery => create(DiscoverySchema, init);
const portName = (value: string) => ({ portSpecifier: { case: "portName", value } }) as const;

const instances = [
  endpoint({ address: "10.0.0.1", tags: ["v1"], zone: "a", metadata: { team: "shop" }, ports: { http: 80 } }),
  endpoint({ address: "10.0.0.2", tags: ["v2", "live"], zone: "b", metadata: { team: "pay" }, ports: { http: 81 } }),
  endpoint({ address: "10.0.0.3", tags: ["v1"], zone: "b", health: UNHEALTHY, ports: { admin: 9 } }),
];

test.each<[MessageInitShape<typeof DiscoverySchema>, string]>([
  [{ tags: ["v3"] }, 'no instance (of 3) has the tag "v3"; there is "live", "v1", "v2"'],
  [{ metadata: { team: "Shop" } }, 'no instance (of 3) has "team" = "Shop" in its metadata; there is "pay", "shop"'],
  [{ metadata: { tier: "x" } }, 'no instance (of 3) has "tier" = "x" in its metadata'],
  [portName("https"), 'no instance (of 3) has a port named "https"; there is "admin", "http"'],
  [{ zones: ["c", "d"] }, 'no instance (of 3) is in the zone "c" or "d", or there for it; there is "a", "b"'],
  [
    { tags: ["v2"], metadata: { team: "shop" } },
    'no instance (of 3) does all of it: has the tag "v2", has "team" = "shop" in its metadata, has a port',
  ],
  [
    { tags: ["v1"], zones: ["b"] },
    "none of the 1 (of 3) that match takes requests: unhealthy, or switched off (weight 0)",
  ],
])("what is asked for and not there is named: %j", (init, words) => {
  const discovery = wish(init);
  expect(choose(instances, discovery)).toEqual([]);
  expect(whyNoneChosen(instances, discovery)).toBe(words);
});

test("of much that is there instead, some is named", () => {
  const many = Array.from({ length: 9 }, (_, at) => endpoint({ tags: [`v${at}`] }));
  const words = whyNoneChosen(many, wish({ tags: ["x"] }));
  expect(words).toBe('no instance (of 9) has the tag "x"; there is "v0", "v1", "v2", "v3", "v4", …');
});

test("an instance that hints give to other zones is there for those", () => {
  const hinted = [endpoint({ zone: "a", forZones: ["b"] })];
  expect(choose(hinted, wish({ zones: ["b"] })).map(({ zone }) => zone)).toEqual(["b"]);
  expect(choose(hinted, wish({ zones: ["a"] }))).toEqual([]);
  const words = 'no instance (of 1) that takes requests is there for "a", by the registry\'s hints';
  expect(whyNoneChosen(hinted, wish({ zones: ["a"] }))).toBe(words);
});

test("whatever is chosen fulfils all wishes; an upstream without wishes takes all that have a port and take requests", () => {
  const some = fc.constantFrom("", "a", "b");
  const anyEndpoint = fc
    .record({
      tags: fc.uniqueArray(fc.constantFrom("v1", "v2")),
      ...{ zone: some, forZones: fc.uniqueArray(fc.constantFrom("a", "b")) },
      ...{ port: fc.constantFrom(0, 80), weight: fc.constantFrom(0, 1, undefined) },
      health: fc.constantFrom(UNKNOWN, HEALTHY, DRAINING, UNHEALTHY),
    })
    .map((init) => endpoint(init));
  const anyWish = fc
    .record({ tags: fc.uniqueArray(fc.constantFrom("v1", "v2")), zones: fc.uniqueArray(fc.constantFrom("a", "b")) })
    .map(wish);
  const property = fc.property(fc.array(anyEndpoint), anyWish, (endpoints, discovery) => {
    const chosen = choose(endpoints, discovery);
    for (const { endpoint: each, port, zone } of chosen) {
      expect(endpoints).toContain(each);
      expect([port, each.health === UNHEALTHY, each.weight === 0]).toEqual([80, false, false]);
      expect(each.tags).toEqual(expect.arrayContaining(discovery.tags));
      if (discovery.zones.length > 0) expect(discovery.zones).toContain(zone);
    }
    const open = endpoints.filter(({ port, weight, health }) => port !== 0 && weight !== 0 && health !== UNHEALTHY);
    if (takesAll(discovery)) expect(chosen.map((each) => each.endpoint)).toEqual(open);
    // People are told something whenever there are endpoints and none is taken.
    if (chosen.length === 0 && endpoints.length > 0) {
      expect(whyNoneChosen(endpoints, discovery)).toMatch(/^no(ne of the \d+| instance) \(of \d+\)/);
    }
  });
  fc.assert(property);
});
