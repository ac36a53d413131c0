import fc from "fast-check";
import { expect, test } from "vitest";

import { normalizeAuthority } from "./authority.ts";
import { normalizePath, type PathOptions } from "./path.ts";

const OPTIONS: PathOptions = { normalizePath: true, mergeSlashes: false, escapedSlashes: "keep" };

/** Each pair was asked of Envoy 1.40, except those with an escaped "..;", where Envoy decodes and leaves it. */
test.each([
  ["/a/b", "/a/b"],
  ["/a/../b", "/b"],
  ["/a/.", "/a/"],
  ["/a/b/..", "/a/"],
  ["/..", "/"],
  ["/..//a", "//a"],
  ["/up/a/%2E./b", "/up/b"],
  ["/up/.a/..b/c.", "/up/.a/..b/c."],
  ["/up/..;/a", "/a"],
  ["/up/..;x=1/a", "/a"],
  ["/up/.;/a", "/up/a"],
  ["/up/...;/a", "/up/...;/a"],
  ["/up/x/..;", "/up/"],
  ["/up/%2e%2e;/a", "/a"],
  ["/up/x;a/../b", "/up/b"],
  ["/up/%7e%2d%41%21%27", "/up/~-A%21%27"],
  ['/up/a%41%zz%2f"<>|{}^`', "/up/aA%zz%2f%22%3C%3E%7C%7B%7D%5E%60"],
  ["/up/[]'*()!$&,;=:@~", "/up/[]'*()!$&,;=:@~"],
  ["/up/%5c..%5ca", "/up/%5c..%5ca"],
  ["/up/%252e%252e/a", "/up/%252e%252e/a"],
  ["/up/\\..\\..\\x", "/x"],
  ["/up/%c3%28", "/up/%c3%28"],
  ["/up/%4%41", "/up/%254A"],
  ["/up/%%34%31", "/up/%2541"],
  ["/up/%%341", "/up/%2541"],
  ["/up/%2%46", "/up/%252F"],
  ["/up/%%41", "/up/%A"],
  ["/a?b/../c%41", "/a?b/../c%41"],
])("%s becomes %s", (target, path) => {
  expect(normalizePath(target, OPTIONS)).toEqual({ kind: "ok", path });
});

test("what is normalised stays as it is when normalised again", () => {
  const part = fc.constantFrom("/", "//", "a", ".", "..", "%2e", "%2F", "%5c", "\\", ";", "%", "%41", "^", "?");
  const options = fc.record({
    normalizePath: fc.constant(true),
    mergeSlashes: fc.boolean(),
    escapedSlashes: fc.constantFrom("keep" as const, "forward" as const),
  });
  fc.assert(
    fc.property(fc.array(part, { maxLength: 12 }), options, (parts, chosen) => {
      const once = normalizePath(`/${parts.join("")}`, chosen);
      if (once.kind !== "ok") return;
      expect(normalizePath(once.path, chosen)).toEqual(once);
    }),
    { numRuns: 2_000 },
  );
});

test("options: nothing, merged slashes, escaped slashes", () => {
  const off: PathOptions = { normalizePath: false, mergeSlashes: false, escapedSlashes: "keep" };
  expect(normalizePath("/a/../%41//b", off)).toEqual({ kind: "ok", path: "/a/../%41//b" });
  expect(normalizePath("/a///b?c//d", { ...off, mergeSlashes: true })).toEqual({ kind: "ok", path: "/a/b?c//d" });
  expect(normalizePath("/a%2fb", { ...off, escapedSlashes: "reject" })).toEqual({ kind: "reject" });
  expect(normalizePath("/a%2fb?%2f", { ...off, escapedSlashes: "redirect" })).toEqual({
    kind: "redirect",
    path: "/a/b?%2f",
  });
  expect(normalizePath("/a%5C..%2fb", { ...OPTIONS, escapedSlashes: "forward" })).toEqual({ kind: "ok", path: "/b" });
  expect(normalizePath("/%00", OPTIONS)).toEqual({ kind: "reject" });
});

test("ports and the dot at the end of a host are stripped as configured", () => {
  const none = { stripMatchingHostPort: false, stripAnyHostPort: false, stripTrailingHostDot: false };
  expect(normalizeAuthority("a.:80", 80, none)).toBe("a.:80");
  expect(normalizeAuthority("a:80", 80, { ...none, stripMatchingHostPort: true })).toBe("a");
  expect(normalizeAuthority("a:81", 80, { ...none, stripMatchingHostPort: true })).toBe("a:81");
  expect(normalizeAuthority("[::1]:81", 80, { ...none, stripAnyHostPort: true })).toBe("[::1]");
  expect(normalizeAuthority("[::1]", 80, { ...none, stripAnyHostPort: true })).toBe("[::1]");
  expect(normalizeAuthority("a.:81", 80, { ...none, stripTrailingHostDot: true })).toBe("a:81");
});
