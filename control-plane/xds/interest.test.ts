import fc from "fast-check";
import { expect, test } from "vitest";

import type { ResourceChange } from "./cache.ts";
import { InterestIndex, type Watcher, WILDCARD } from "./interest.ts";

const VIEW = "view";

class Listener implements Watcher {
  told: string[] = [];

  changed(_: string, changes: readonly ResourceChange[]): void {
    this.told.push(...changes.map(({ name }) => name));
  }

  groupChanged(): void {}
}

const names = ["a", "b", "c", "d"];
const crowds = [new Set(["a", "b"]), new Set(["b", "c", "d"])];
const step = fc.record({
  kind: fc.constantFrom("add" as const, "remove" as const, "together" as const, "leave" as const),
  who: fc.nat(2),
  name: fc.constantFrom(...names, WILDCARD),
  crowd: fc.nat(1),
});

test("each watcher is told once of what it wants, be it in a crowd or not", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const index = new InterestIndex();
      const watchers = [new Listener(), new Listener(), new Listener()];
      const wants = watchers.map(() => new Set<string>());
      for (const { kind, who, name, crowd } of steps) {
        const [watcher, wanted, together] = [watchers[who], wants[who], crowds[crowd]];
        if (watcher === undefined || wanted === undefined || together === undefined) throw new Error("out of range");
        if (kind === "add") {
          index.add(VIEW, name, watcher);
          wanted.add(name);
        } else if (kind === "remove") {
          index.remove(VIEW, name, watcher);
          wanted.delete(name);
        } else if (kind === "leave") {
          index.removeAll(VIEW, [...wanted], watcher);
          wanted.clear();
        } else if (wanted.size === 0) {
          index.addTogether(VIEW, together, watcher);
          for (const each of together) wanted.add(each);
        }
      }
      for (const told of [["a"], ["b", "d"], names]) {
        for (const watcher of watchers) watcher.told = [];
        index.tell(
          VIEW,
          told.map((name) => ({ name, before: undefined, exists: true })),
        );
        for (const [at, { told: heard }] of watchers.entries()) {
          const wanted = wants[at] ?? new Set();
          expect(heard).toEqual(told.filter((name) => wanted.has(name) || wanted.has(WILDCARD)));
        }
      }
    }),
  );
});
