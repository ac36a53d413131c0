import fc from "fast-check";
import { expect, test } from "vitest";

import { create } from "@bufbuild/protobuf";

import { EndpointHealth, EndpointSchema, ServiceSnapshotSchema } from "#sluice/discovery/v1/snapshot_pb.ts";

import { canonical } from "./canonical.ts";

const { HEALTHY, UNKNOWN, DRAINING, UNHEALTHY } = EndpointHealth;

test.each([
  // As after a restart with a new service id, until Consul forgets the old one.
  ["an unhealthy one gives way", [UNHEALTHY, HEALTHY], HEALTHY],
  ["in any order", [HEALTHY, UNHEALTHY], HEALTHY],
  ["also to one that is not checked", [UNHEALTHY, UNKNOWN], UNKNOWN],
  ["a draining one gives way", [DRAINING, HEALTHY], HEALTHY],
  ["of those that are alike the first stays", [UNKNOWN, HEALTHY], UNKNOWN],
])("of two instances with the same address and port one counts: %s", (_, healths, kept) => {
  const endpoints = healths.map((health) => create(EndpointSchema, { address: "10.0.0.1", port: 80, health }));
  const served = canonical(create(ServiceSnapshotSchema, { endpoints }));
  expect(served.decode().endpoints.map(({ health }) => health)).toEqual([kept]);
});

test("an instance that is switched off gives way to one that isn't", () => {
  const endpoints = [0, 3].map((weight) => create(EndpointSchema, { address: "10.0.0.1", port: 80, weight }));
  expect(canonical(create(ServiceSnapshotSchema, { endpoints })).decode().endpoints).toMatchObject([{ weight: 3 }]);
});

test("what is counted is what is there", () => {
  const anyEndpoint = fc
    .record({
      address: fc.constantFrom("10.0.0.1", "10.0.0.2"),
      port: fc.constantFrom(0, 80),
      health: fc.constantFrom(UNKNOWN, HEALTHY, DRAINING, UNHEALTHY),
      weight: fc.constantFrom(0, 1, undefined),
    })
    .map((init) => create(EndpointSchema, init));
  const property = fc.property(fc.array(anyEndpoint), (endpoints) => {
    const served = canonical(create(ServiceSnapshotSchema, { endpoints }));
    const kept = served.decode().endpoints;
    const usable = kept.filter(({ health, weight }) => health !== UNHEALTHY && weight !== 0);
    expect(served).toMatchObject({
      endpointCount: kept.length,
      usableCount: usable.length,
      usableWithPortCount: usable.filter(({ port }) => port > 0).length,
    });
    // No place that could be used is lost for one that couldn't.
    for (const { address, port, health, weight } of endpoints) {
      if (health === UNHEALTHY || weight === 0) continue;
      expect(usable.some((each) => each.address === address && each.port === port)).toBe(true);
    }
  });
  fc.assert(property);
});
