/** Layered sets and maps are sets and maps, whatever is done to them; what they share is never written. */
import fc from "fast-check";
import { expect, test } from "vitest";

import { LayeredMap } from "./layered-map.ts";
import { LayeredSet } from "./layered-set.ts";

const name = fc.constantFrom("a", "b", "c", "d", "e");
const shared = fc.uniqueArray(name).map((names) => new Set(names));

const setStep = fc.oneof(
  fc.record({ kind: fc.constantFrom("add" as const, "delete" as const), name }),
  fc.record({ kind: fc.constant("share" as const), names: shared }),
);

test("a layered set is a set", () => {
  fc.assert(
    fc.property(fc.array(setStep, { maxLength: 30 }), (steps) => {
      const layered = new LayeredSet();
      let plain = new Set<string>();
      for (const step of steps) {
        if (step.kind === "share") {
          const before = [...step.names];
          layered.share(step.names);
          plain = new Set(step.names);
          expect(layered.shared).toBe(step.names.size > 0 ? step.names : undefined);
          expect([...step.names]).toEqual(before);
        } else if (step.kind === "add") {
          layered.add(step.name);
          plain.add(step.name);
        } else expect(layered.delete(step.name)).toBe(plain.delete(step.name));
        expect(new Set(layered)).toEqual(plain);
        expect([...layered]).toHaveLength(plain.size);
        expect(layered.size).toBe(plain.size);
        expect(layered.isEmpty).toBe(plain.size === 0);
        if (layered.shared !== undefined) expect(new Set(layered.shared)).toEqual(plain);
        if (layered.only !== undefined) expect(plain).toEqual(new Set([layered.only]));
      }
    }),
  );
});

const value = fc.constantFrom("", "1", "2");
const mapStep = fc.oneof(
  fc.record({ kind: fc.constant("set" as const), name, value }),
  fc.record({ kind: fc.constant("delete" as const), name }),
  fc.record({ kind: fc.constant("share" as const), names: shared, value }),
  fc.record({ kind: fc.constant("unshare" as const) }),
);

test("a layered map is a map", () => {
  fc.assert(
    fc.property(fc.array(mapStep, { maxLength: 30 }), (steps) => {
      const layered = new LayeredMap();
      const plain = new Map<string, string>();
      const layers: ReadonlySet<string>[] = [];
      for (const step of steps) {
        if (step.kind === "share") {
          const names = new Set([...step.names].filter((each) => !plain.has(each)));
          const values = new Map(Array.from(names, (each) => [each, step.value]));
          layered.share({ names, values });
          layers.push(names);
          for (const each of names) plain.set(each, step.value);
        } else if (step.kind === "unshare") {
          const names = layers.pop() ?? new Set();
          if (layered.unshare(names)) for (const each of names) plain.delete(each);
        } else if (step.kind === "set") {
          layered.set(step.name, step.value);
          plain.set(step.name, step.value);
        } else expect(layered.delete(step.name)).toBe(plain.delete(step.name));
        expect(new Map(layered)).toEqual(plain);
        expect([...layered.keys()]).toHaveLength(plain.size);
        expect(layered.size).toBe(plain.size);
        for (const each of ["a", "b", "c", "d", "e"]) expect(layered.get(each)).toBe(plain.get(each));
      }
    }),
  );
});

test("a layer is taken out as a whole only where nothing of it differs", () => {
  const names = new Set(["a", "b"]);
  const layer = { names, values: new Map([...names].map((each) => [each, "1"])) };
  const map = new LayeredMap();
  map.share(layer);
  expect(map.unshare(new Set(names))).toBe(false);
  map.set("a", "2");
  expect(map.unshare(names)).toBe(false);
  expect([...map]).toEqual([
    ["a", "2"],
    ["b", "1"],
  ]);
  const other = new LayeredMap();
  other.share(layer);
  expect(other.unshare(names)).toBe(true);
  expect([...other]).toEqual([]);
  expect(layer.values.get("a")).toBe("1");
});

test("names can be taken out of both while they are looked through", () => {
  const names = new Set(["a", "b", "c"]);
  const set = new LayeredSet();
  set.share(names);
  set.delete("c");
  const map = new LayeredMap();
  map.share({ names, values: new Map([...names].map((each) => [each, "1"])) });
  map.delete("c");
  const seen: string[] = [];
  for (const each of set) {
    seen.push(each);
    set.clear();
  }
  for (const each of map.keys()) {
    seen.push(each);
    map.delete("a");
    map.delete("b");
  }
  expect(seen).toEqual(["a", "a"]);
});
