/** Whatever order and detail a registry lists the same in: only what changed is told. */
import { create } from "@bufbuild/protobuf";
import fc from "fast-check";
import { expect, test } from "vitest";

import { type Endpoint, EndpointHealth, EndpointSchema } from "#sluice/discovery/v1/snapshot_pb.ts";

import { RegistrySupervisor } from "./supervise.ts";
import { ScriptedSource, serviceKey, snapshotOf } from "./testing/scripted-source.ts";

const SERVICES = ["a", "b", "c"] as const;
type Listed = Readonly<Record<(typeof SERVICES)[number], readonly Endpoint[]>>;

const endpoint: fc.Arbitrary<Endpoint> = fc
  .record({
    address: fc.constantFrom("10.0.0.1", "10.0.0.2", "10.0.0.3", "fd00::1"),
    port: fc.integer({ min: 1, max: 2 }),
    weight: fc.option(fc.integer({ min: 1, max: 3 }), { nil: undefined }),
    health: fc.constantFrom(EndpointHealth.HEALTHY, EndpointHealth.DRAINING),
    tags: fc.uniqueArray(fc.constantFrom("x", "y")),
    metadata: fc.dictionary(fc.constantFrom("k", "l"), fc.constantFrom("1", "2")),
  })
  .map(({ weight, ...more }) => create(EndpointSchema, { ...more, ...(weight !== undefined && { weight }) }));

const endpoints = fc.uniqueArray(endpoint, { minLength: 1, selector: ({ address, port }) => `${address} ${port}` });
const listed: fc.Arbitrary<Listed> = fc.record({ a: endpoints, b: endpoints, c: endpoints });

/** The same in another order, maps and sets included. */
const reordered = (all: readonly Endpoint[]): Endpoint[] =>
  all.toReversed().map((each) => ({
    ...each,
    tags: each.tags.toReversed(),
    metadata: Object.fromEntries(Object.entries(each.metadata).toReversed()),
  }));

test("a re-list tells of the services that changed and of no other", async () => {
  await fc.assert(
    fc.asyncProperty(listed, listed, fc.subarray([...SERVICES]), async (before, other, changing) => {
      const source = new ScriptedSource();
      const told: string[] = [];
      const supervisor = new RegistrySupervisor({
        source,
        holdEmptyMs: 0,
        events: { changed: ({ service }) => told.push(service) },
      });
      const say = (all: Listed, revision: string) => {
        for (const name of SERVICES) {
          source.say(name, { snapshot: snapshotOf(name, [], { endpoints: [...all[name]], revision }) });
        }
      };
      const heard = (events: number) => [...supervisor.reports()].every(({ counts }) => counts.events === events);
      const settle = async (events: number) => {
        while (!heard(events)) await new Promise((resolve) => setImmediate(resolve));
      };
      try {
        for (const name of SERVICES) void supervisor.add(serviceKey(name));
        say(before, "1");
        await settle(1);
        told.length = 0;

        say({ a: reordered(before.a), b: reordered(before.b), c: reordered(before.c) }, "2");
        await settle(2);
        expect(told).toEqual([]);

        const added = create(EndpointSchema, { address: "10.9.9.9", port: 80 });
        const next = (name: keyof Listed) =>
          changing.includes(name) ? [...other[name], added] : reordered(before[name]);
        say({ a: next("a"), b: next("b"), c: next("c") }, "3");
        await settle(3);
        expect([...told].sort()).toEqual([...changing].sort());
      } finally {
        await supervisor.close();
      }
    }),
  );
});
