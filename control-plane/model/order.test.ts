import fc from "fast-check";
import { expect, test } from "vitest";

import { comparePatterns, compareRoutes, type RouteRank } from "./order.ts";
import { parsePath } from "./paths.ts";

const pattern = (path: string) => {
  const parsed = parsePath(path);
  if (!parsed.ok) throw new Error(path);
  return parsed.value;
};

const rank = (path: string, rest: Partial<RouteRank> = {}): RouteRank => ({
  pattern: pattern(path),
  ...{ priority: 0, hasVars: false, hasMethods: false, service: "s", position: 0 },
  ...rest,
});

test("the more specific path comes first", () => {
  const ordered = ["/a/b", "/a/:x/c", "/a/:x", "/a/*", "/:x/b", "/:x", "/*"];

  expect([...ordered].sort((a, b) => comparePatterns(pattern(a), pattern(b)))).toEqual([
    "/a/b",
    "/a/:x",
    "/a/:x/c",
    "/a/*",
    "/:x",
    "/:x/b",
    "/*",
  ]);
});

test("the names of parameters don't matter", () => {
  expect(comparePatterns(pattern("/a/:x"), pattern("/a/:y"))).toBe(0);
});

test("path, priority, conditions, service, place in the file: in this order", () => {
  const ordered = [
    rank("/a/b"),
    rank("/a/*", { priority: 2 }),
    rank("/a/*", { priority: 1, hasVars: true, position: 3 }),
    rank("/a/*", { priority: 1, hasMethods: true, position: 2 }),
    rank("/a/*", { priority: 1, position: 1 }),
    rank("/a/*", { priority: 1, service: "t" }),
    rank("/*", { priority: 9 }),
  ];
  expect(ordered.toReversed().sort(compareRoutes)).toEqual(ordered);
});

test("the order is total and transitive", () => {
  const paths = fc.constantFrom("/", "/*", "/a", "/a/*", "/a/:x", "/:x/a", "/:x", "/a/b", "/b/*", "/:x/*", "/a/:x/*");
  fc.assert(
    fc.property(paths, paths, paths, (a, b, c) => {
      const sign = (left: string, right: string) => Math.sign(comparePatterns(pattern(left), pattern(right)));
      expect(sign(a, b) + sign(b, a)).toBe(0);
      if (sign(a, b) <= 0 && sign(b, c) <= 0) expect(sign(a, c)).toBeLessThanOrEqual(0);
    }),
  );
});
