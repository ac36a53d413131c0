import fc from "fast-check";
import { expect, test } from "vitest";

import { FewNames } from "./few-names.ts";

const step = fc.record({ adds: fc.boolean(), key: fc.constantFrom("k", "l"), name: fc.constantFrom("a", "b", "c") });

test("it is a set of names for each key, in the order of their coming", () => {
  fc.assert(
    fc.property(fc.array(step), (steps) => {
      const few = new FewNames();
      const sets = new Map([
        ["k", new Set<string>()],
        ["l", new Set<string>()],
      ]);
      for (const { adds, key, name } of steps) {
        if (adds) few.add(key, name);
        else few.delete(key, name);
        if (adds) sets.get(key)?.add(name);
        else sets.get(key)?.delete(name);
        for (const [each, names] of sets)
          expect([[...few.of(each)], few.count(each)]).toEqual([[...names], names.size]);
      }
    }),
  );
});
