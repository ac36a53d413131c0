import { expect, test } from "vitest";

import { difference, replacements } from "./difference.ts";

const resource = (name: string, content: string, typeUrl = "t") => ({ typeUrl, name, bytes: Buffer.from(content) });

test("what is new or different comes with its bytes, what is gone without, and what stayed not at all", () => {
  const { known } = difference([], [resource("same", "1"), resource("other", "1"), resource("gone", "1")]);
  const after = [resource("same", "1"), resource("other", "2"), resource("new", "1")];
  expect(difference(known, after).changes).toEqual([
    resource("other", "2"),
    resource("new", "1"),
    { typeUrl: "t", name: "gone", bytes: null },
  ]);
});

test("one name in two types is two resources", () => {
  const { known } = difference([], [resource("a", "1", "clusters"), resource("a", "1", "endpoints")]);
  expect(difference(known, [resource("a", "1", "clusters")]).changes).toEqual([
    { typeUrl: "endpoints", name: "a", bytes: null },
  ]);
});

test("replacing some leaves the others where they are", () => {
  const { known } = difference([], [resource("a", "1"), resource("b", "1")]);
  expect(replacements(known, [resource("b", "2")]).changes).toEqual([resource("b", "2")]);
  expect(replacements(known, [resource("b", "1")]).changes).toEqual([]);
});

test("what is remembered holds no bytes", () => {
  const { known } = difference([], [resource("a", "1".repeat(10_000))]);
  expect(JSON.stringify(known).length).toBeLessThan(200);
});
