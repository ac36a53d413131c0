import fc from "fast-check";
import { expect, test } from "vitest";

import { EndpointHealth } from "#sluice/discovery/v1/snapshot_pb.ts";

import { canonical } from "./canonical.ts";
import { type Admitted, admit, release } from "./hold.ts";
import { snapshotOf } from "./testing/scripted-source.ts";

const HOLD_MS = 1_000;

/** An answer and the time since the one before. */
const answers = fc.array(
  fc.record({
    addresses: fc.uniqueArray(fc.constantFrom("10.0.0.1", "10.0.0.2", "10.0.0.3"), { maxLength: 3 }),
    first: fc.boolean(),
    discontinuous: fc.boolean(),
    clusterIdentity: fc.constantFrom("", "a", "b"),
    waitMs: fc.integer({ min: 0, max: 700 }),
  }),
  { maxLength: 40 },
);

test("whatever a registry says: its newest instances are served, and nothing only if it said so long enough or in the normal course", () => {
  fc.assert(
    fc.property(answers, (said) => {
      let nowMs = 0;
      let emptySinceMs: number | undefined;
      let now: Admitted = { served: undefined, held: undefined };
      for (const { addresses, waitMs, first, ...more } of said) {
        nowMs += waitMs;
        if (now.held !== undefined && nowMs >= now.held.untilMs) now = release(now);
        const before = (now.served?.usableCount ?? 0) > 0;
        now = admit(now, canonical(snapshotOf("s", addresses, more)), { nowMs, first, holdEmptyMs: HOLD_MS });
        const served = now.served?.decode().endpoints.map(({ address }) => address);
        if (addresses.length > 0) {
          emptySinceMs = undefined;
          expect(served).toEqual([...addresses].sort());
          expect(now.held).toBeUndefined();
          continue;
        }
        emptySinceMs ??= nowMs;
        const isDoubtful = first || more.discontinuous;
        // Went from something to nothing in this very answer, without the time being over: only in the normal course.
        if (before && served?.length === 0 && nowMs - emptySinceMs < HOLD_MS) expect(isDoubtful).toBe(false);
        if (now.held !== undefined) expect(served).not.toEqual([]);
        expect(nowMs - emptySinceMs >= HOLD_MS && now.held !== undefined).toBe(false);
      }
    }),
  );
});

test("a registry that is connected to again and calls all instances unhealthy is doubted, and one that goes on is not", () => {
  const unhealthy = snapshotOf("s", ["10.0.0.1"]);
  for (const endpoint of unhealthy.endpoints) endpoint.health = EndpointHealth.UNHEALTHY;
  const before: Admitted = { served: canonical(snapshotOf("s", ["10.0.0.1"])), held: undefined };
  const arrival = { nowMs: 0, holdEmptyMs: HOLD_MS };
  const again = admit(before, canonical(unhealthy), { ...arrival, first: true });
  expect(again.served).toBe(before.served);
  expect(again.held?.reason).toBe("the registry calls all instances unusable right after it was connected to again");
  expect(admit(before, canonical(unhealthy), { ...arrival, first: false }).served?.decode().endpoints).toMatchObject([
    { health: EndpointHealth.UNHEALTHY },
  ]);
});

test("canonical form doesn't depend on the order of anything", () => {
  const endpoint = fc.record({
    address: fc.constantFrom("10.0.0.1", "10.0.0.2", "::1"),
    port: fc.integer({ min: 1, max: 3 }),
    tags: fc.uniqueArray(fc.constantFrom("a", "b", "c")),
    metadata: fc.dictionary(fc.constantFrom("x", "y", "z"), fc.string()),
  });
  const unique = fc.uniqueArray(endpoint, { selector: ({ address, port }) => `${address} ${port}` });
  fc.assert(
    fc.property(unique, (endpoints) => {
      const build = (list: typeof endpoints, reverse: boolean) => {
        const snapshot = snapshotOf(
          "s",
          list.map(({ address }) => address),
        );
        for (const [at, { port, tags, metadata }] of list.entries()) {
          const entries = Object.entries(metadata);
          Object.assign(snapshot.endpoints[at] ?? {}, {
            ...{ port, tags: reverse ? tags.toReversed() : tags },
            metadata: Object.fromEntries(reverse ? entries.toReversed() : entries),
          });
        }
        return Buffer.from(canonical(snapshot).content).toString("hex");
      };
      expect(build(endpoints.toReversed(), true)).toBe(build(endpoints, false));
    }),
  );
});
