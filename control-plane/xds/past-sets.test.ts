/** What a set was lately, told by its version alone (S16). */
import { expect, test } from "vitest";

import { resource, typeUrlOf } from "../../test/support/xds-resources.ts";
import { ResourceCache } from "./cache.ts";
import { PastSets } from "./past-sets.ts";
import { setVersion } from "./resource.ts";

const CDS = typeUrlOf("CDS");

function filled(...names: string[]) {
  const cache = new ResourceCache();
  cache.update(
    "g",
    names.map((name) => resource("CDS", name)),
  );
  cache.markReady();
  const set = () => cache.resources("g", CDS);
  return {
    set,
    version: () => set()?.version ?? "",
    change: (name: string, content?: string | null) => cache.update("g", [resource("CDS", name, content)]),
    /** In words: "a:VERSION" for what stood under a name, "a" for what did not exist. */
    past: (version: string) => {
      const past = set()?.past?.(version);
      return past && Object.fromEntries(Array.from(past, ([name, was]) => [name, was?.version]));
    },
  };
}

test("S16 each version that the set has had tells what it was", () => {
  const { version, change, past, set } = filled("a", "b");
  const versions = [version()];
  const [a, b] = [set()?.get("a")?.version, set()?.get("b")?.version];
  change("b", null);
  versions.push(version());
  change("c");
  change("a", "2");
  const changed = set()?.get("a")?.version;
  versions.push(version());
  change("a", null);
  expect(versions.map(past)).toEqual([{ a, b, c: undefined }, { a, c: undefined }, { a: changed }]);
  expect(past(version())).toEqual({});
});

test("W6 a client that was cut off before it was told of removals is understood, too", () => {
  const { version, change, past, set } = filled("a", "b", "c");
  const gone = [set()?.get("a"), set()?.get("b")];
  change("a", null);
  change("b", null);
  change("d");
  // It holds the new set, and what went.
  const held = setVersion(gone.reduce((sum, each) => sum + (each?.setHash ?? 0n), BigInt(`0x${version()}`)));
  expect(past(held)).toEqual({ a: gone[0]?.version, b: gone[1]?.version, d: undefined });
});

test("what is no version of the set is not understood", () => {
  const { change, past } = filled("a");
  change("b");
  for (const version of ["", "1", "0123456789abcdef", "x".repeat(16), "9".repeat(1_000)]) {
    expect(past(version)).toBeUndefined();
  }
});

test("what is older than an hour, or than the last thousand changes, is forgotten", () => {
  let nowMs = 0;
  const sets = new PastSets(() => nowMs);
  const step = (sumBefore: bigint) => sets.note(sumBefore, { name: "a", before: undefined, exists: true });
  step(1n);
  expect(sets.find(setVersion(1n), 2n)?.size).toBe(1);
  nowMs = 3_600_001;
  step(2n);
  expect([1n, 2n].map((sum) => sets.find(setVersion(sum), 3n)?.size)).toEqual([undefined, 1]);
  for (let sum = 3n; sum < 3_000n; sum++) step(sum);
  expect([2n, 2_990n].map((sum) => sets.find(setVersion(sum), 3_000n)?.size)).toEqual([undefined, 1]);
});
