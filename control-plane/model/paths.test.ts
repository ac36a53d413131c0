import { expect, test } from "vitest";

import { parsePath, parsePathPrefix } from "./paths.ts";

const messageOf = (path: string) => {
  const parsed = parsePath(path);
  return parsed.ok ? undefined : parsed.problems.map(({ message }) => message).join("; ");
};

test("a path is read segment by segment", () => {
  expect(parsePath("/users/:id/*")).toEqual({
    ok: true,
    value: [{ kind: "literal", text: "users" }, { kind: "parameter", name: "id" }, { kind: "wildcard" }],
  });
  expect(parsePath("/")).toEqual({ ok: true, value: [{ kind: "literal", text: "" }] });
});

test.each(["/", "/*", "/a", "/a/", "/a.b/~c/d:e", "/a/:b_1/c", "/caf%C3%A9", "/a,b;c=d/(e)!'@$&+", "/v1/items:batch"])(
  "%s is a path",
  (path) => {
    expect(messageOf(path)).toBeUndefined();
  },
);

test.each([
  ["a", 'must start with "/"'],
  ["/a//b", 'holds "//"'],
  ["/a/../b", "dot segment"],
  ["/a/.", "dot segment"],
  ["/a*", '"*" stands alone'],
  ["/*/b", '"*" stands alone'],
  ["/:", "is not a parameter"],
  ["/:a-b", "is not a parameter"],
  ["/:id/:id", 'two parameters "id"'],
  ["/a?b=1", "holds a query"],
  ["/a#b", "holds a fragment"],
  ["/a b", '"%20"'],
  ["/café", '"%C3%A9"'],
  ["/a\\b", '"%5C"'],
  ["/a\nb", '"%0A"'],
  ["/%7Euser", 'write "~" instead of "%7E"'],
  ["/%2e%2e/b", "upper-case"],
  ["/%c3%a9", "upper-case"],
  ["/a%", "two upper-case hexadecimal digits"],
  ["/a%2Fb", "are refused"],
  ["/a%5Cb", "are refused"],
  ["/a%00", "control character"],
])("%j is refused: %s", (path, reason) => {
  expect(messageOf(path)).toContain(reason);
});

test("a prefix is literal, and may be missing", () => {
  expect(parsePathPrefix("")).toEqual({ ok: true, value: [] });
  expect(parsePathPrefix("/")).toEqual({ ok: true, value: [] });
  expect(parsePathPrefix("/a/b").ok).toBe(true);
  for (const wrong of ["/a/", "/:a", "/a/*", "a"]) expect(parsePathPrefix(wrong).ok).toBe(false);
});
