/** Which endpoint of a set is picked, by policy (proxy-parity 3.8). */
import fc from "fast-check";
import { describe, expect, test } from "vitest";

import { xxHash64 } from "../../route/hash.ts";
import { LiveEndpoint } from "../endpoint.ts";
import { leastRequest } from "./least-request.ts";
import { maglev } from "./maglev.ts";
import { random } from "./random.ts";
import { ringHash } from "./ring-hash.ts";
import { roundRobin } from "./round-robin.ts";
import { Schedule } from "./schedule.ts";

const endpoints = (...weights: number[]) =>
  weights.map((weight, at) => Object.assign(new LiveEndpoint("10.0.0.1", 9000 + at), { weight }));
const weightOf = ({ weight }: { weight: number }) => weight;

function countPicks(picks: number, pick: () => LiveEndpoint | undefined): Map<LiveEndpoint, number> {
  const counts = new Map<LiveEndpoint, number>();
  for (let n = 0; n < picks; n++) {
    const picked = pick();
    if (picked !== undefined) counts.set(picked, (counts.get(picked) ?? 0) + 1);
  }
  return counts;
}

describe("schedule", () => {
  test("each period gives each item exactly its weight, from any start", () => {
    const weights = fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 10 });
    const start = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
    fc.assert(
      fc.property(weights, start, fc.integer({ min: 1, max: 5 }), (all, from, periods) => {
        const schedule = new Schedule(
          all.map((_, at) => at),
          all,
          from,
        );
        const turns = all.map(() => 0);
        const sum = all.reduce((a, b) => a + b, 0);
        for (let n = 0; n < sum * periods; n++) {
          const at = schedule.next() ?? -1;
          turns[at] = (turns[at] ?? 0) + 1;
        }
        expect(turns).toEqual(all.map((weight) => weight * periods));
      }),
    );
  });

  test("turns are spread out, not taken in a row", () => {
    const schedule = new Schedule(["a", "b"], [3, 1], 0);
    expect(Array.from({ length: 8 }, () => schedule.next()).join("")).toBe("aaabaaab");
    const equal = new Schedule(["a", "b"], [2, 2], 0);
    expect(Array.from({ length: 4 }, () => equal.next()).join("")).toBe("abab");
  });
});

describe("round robin", () => {
  test("3:1 over 1,000 requests is 750 to 250", () => {
    const [heavy, light] = endpoints(3, 1);
    const balancer = roundRobin([heavy, light] as LiveEndpoint[], weightOf);
    const counts = countPicks(1000, () => balancer.pick(undefined, 0) as LiveEndpoint);
    expect([counts.get(heavy as LiveEndpoint), counts.get(light as LiveEndpoint)]).toEqual([750, 250]);
  });

  test("equal weights take turns", () => {
    const all = endpoints(2, 2, 2);
    const balancer = roundRobin(all, weightOf);
    const counts = countPicks(300, () => balancer.pick(undefined, 0) as LiveEndpoint);
    expect([...counts.values()]).toEqual([100, 100, 100]);
  });

  test("nobody to pick", () => {
    expect(roundRobin([], weightOf).pick(undefined, 0)).toBeUndefined();
  });
});

describe("least request", () => {
  test("of equals, the one with less to do of those drawn", () => {
    const [busy, idle] = endpoints(1, 1) as [LiveEndpoint, LiveEndpoint];
    busy.activeRequests = 10;
    const balancer = leastRequest(2)([busy, idle], weightOf);
    const counts = countPicks(1000, () => balancer.pick(undefined, 0) as LiveEndpoint);
    // It is picked only when both draws are itself: one in four.
    expect(counts.get(idle)).toBeGreaterThan(600);
  });

  test("weights count while all are idle", () => {
    const [heavy, light] = endpoints(3, 1) as [LiveEndpoint, LiveEndpoint];
    const balancer = leastRequest(2)([heavy, light], weightOf);
    const counts = countPicks(1000, () => balancer.pick(undefined, 0) as LiveEndpoint);
    expect(Math.abs((counts.get(heavy) ?? 0) - 750)).toBeLessThanOrEqual(2);
  });

  test("an endpoint that is busy weighs less", () => {
    const [heavy, light] = endpoints(3, 1) as [LiveEndpoint, LiveEndpoint];
    heavy.activeRequests = 8;
    const balancer = leastRequest(2)([heavy, light], weightOf);
    const counts = countPicks(1000, () => balancer.pick(undefined, 0) as LiveEndpoint);
    // 3 / 9 against 1.
    expect(Math.abs((counts.get(heavy) ?? 0) - 250)).toBeLessThanOrEqual(2);
  });
});

test("random picks all of them, and nobody of none", () => {
  const balancer = random(endpoints(1, 1, 1), weightOf);
  expect(countPicks(1000, () => balancer.pick(undefined, 0) as LiveEndpoint).size).toBe(3);
  expect(random([], weightOf).pick(undefined, 0)).toBeUndefined();
});

describe("maglev", () => {
  const make = maglev(65_537);
  const keys = Array.from({ length: 5000 }, (_, at) => xxHash64(`user-${at}`));

  test("a hash always comes to the same endpoint, whichever proxy asks", () => {
    const all = endpoints(1, 1, 1, 1);
    const [one, other] = [make(all, weightOf), make(all, weightOf)];
    for (const key of keys) expect(other.pick(key, 0)).toBe(one.pick(key, 0));
  });

  test("when an endpoint leaves, nearly all requests of the others stay", () => {
    const all = endpoints(1, 1, 1, 1);
    const [gone] = all;
    const before = make(all, weightOf);
    const after = make(all.slice(1), weightOf);
    const others = keys.filter((key) => before.pick(key, 0) !== gone);
    const moved = others.filter((key) => after.pick(key, 0) !== before.pick(key, 0));
    expect(moved.length / others.length).toBeLessThan(0.15);
  });

  test("shares of the table are those of the weights", () => {
    const [heavy, light] = endpoints(3, 1) as [LiveEndpoint, LiveEndpoint];
    const balancer = maglev(101)([heavy, light], weightOf);
    let hash = 0n;
    const counts = countPicks(101, () => balancer.pick(hash++, 0) as LiveEndpoint);
    expect([counts.get(heavy), counts.get(light)]).toEqual([75, 26]);
  });

  test("another draw goes elsewhere in the end; nobody to pick, nobody picked", () => {
    const balancer = make(endpoints(1, 1), weightOf);
    const picked = new Set(Array.from({ length: 20 }, (_, attempt) => balancer.pick(7n, attempt)));
    expect(picked.size).toBe(2);
    expect(make([], weightOf).pick(7n, 0)).toBeUndefined();
  });
});

describe("ring hash", () => {
  const make = ringHash({ minimumRingSize: 1024, maximumRingSize: 8_388_608 });
  const keys = Array.from({ length: 2000 }, (_, at) => xxHash64(`user-${at}`));

  test("a hash always comes to the same endpoint", () => {
    const all = endpoints(1, 1, 1, 1);
    const one = make(all, weightOf);
    const other = make(all.toReversed(), weightOf);
    for (const key of keys) expect(other.pick(key, 0)).toBe(one.pick(key, 0));
  });

  test("when an endpoint leaves, most requests of the others stay", () => {
    const all = endpoints(1, 1, 1, 1);
    const gone = all[1];
    const before = make(all, weightOf);
    const after = make(
      all.filter((endpoint) => endpoint !== gone),
      weightOf,
    );
    const others = keys.filter((key) => before.pick(key, 0) !== gone);
    const moved = others.filter((key) => after.pick(key, 0) !== before.pick(key, 0));
    // Not none: the ring keeps its least size, so that those who stay get more entries (342 instead of 256), as in Envoy.
    expect(moved.length / others.length).toBeLessThan(0.25);
  });

  test("shares are near to weights", () => {
    const [heavy] = endpoints(3, 1);
    const balancer = make([heavy as LiveEndpoint, ...endpoints(3, 1).slice(1)], weightOf);
    const share = keys.filter((key) => balancer.pick(key, 0) === heavy).length / keys.length;
    expect(share).toBeGreaterThan(0.65);
    expect(share).toBeLessThan(0.85);
  });

  test("entries are the hashes of address_i, and the first at or after the hash takes it", () => {
    const [only, other] = endpoints(1, 1) as [LiveEndpoint, LiveEndpoint];
    const balancer = ringHash({ minimumRingSize: 2, maximumRingSize: 2 })([only, other], weightOf);
    const entries = [
      { hash: xxHash64("10.0.0.1:9000_0"), endpoint: only },
      { hash: xxHash64("10.0.0.1:9001_0"), endpoint: other },
    ].sort((a, b) => (a.hash < b.hash ? -1 : 1));
    const [first, second] = entries as [(typeof entries)[0], (typeof entries)[0]];
    expect(balancer.pick(first.hash, 0)).toBe(first.endpoint);
    expect(balancer.pick(first.hash + 1n, 0)).toBe(second.endpoint);
    expect(balancer.pick(second.hash + 1n, 0)).toBe(first.endpoint);
    expect(balancer.pick(0n, 0)).toBe(first.endpoint);
    expect(balancer.pick(0n, 1)).toBe(second.endpoint);
  });

  test("without a hash any of them", () => {
    const balancer = make(endpoints(1, 1, 1), weightOf);
    expect(countPicks(1000, () => balancer.pick(undefined, 0) as LiveEndpoint).size).toBe(3);
  });
});
