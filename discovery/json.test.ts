import fc from "fast-check";
import { expect, test } from "vitest";

import { parseJson } from "./json.ts";

/** Long enough to be parsed in pieces. */
const LONG = 3_000;
const long = (items: readonly unknown[]) => Array.from({ length: LONG }, (_, at) => items[at % items.length] ?? at);
const bytes = (value: unknown, space?: number) => Buffer.from(JSON.stringify(value, undefined, space));
const value = fc.jsonValue({ maxDepth: 3 });
const items = fc.array(fc.tuple(value, fc.string({ unit: "grapheme", maxLength: 400 }), fc.constant("x".repeat(200))), {
  minLength: 1,
  maxLength: 5,
});

test("a long list is what JSON.parse makes of it, by itself and in an object among others", async () => {
  await fc.assert(
    fc.asyncProperty(items, value, fc.constantFrom(undefined, 2), async (some, other, space) => {
      for (const whole of [long(some), { before: other, items: long(some), after: [other, '"]}'] }]) {
        const text = bytes(whole, space);
        expect(text.length).toBeGreaterThan(256 * 1024);
        expect(JSON.stringify(await parseJson(text))).toBe(JSON.stringify(JSON.parse(text.toString("utf8"))));
      }
    }),
    { numRuns: 10 },
  );
});

test("what is not JSON is refused, wherever the fault is", async () => {
  const text = JSON.stringify({ metadata: {}, items: long(["x".repeat(200)]), more: 1 });
  for (const at of [1, 30, Math.floor(text.length / 2), text.length - 1]) {
    const broken = Buffer.from(`${text.slice(0, at)}\u0001${text.slice(at)}`);
    await expect(parseJson(broken)).rejects.toMatchObject({ kind: "bad_answer" });
    await expect(parseJson(Buffer.from(text.slice(0, at)))).rejects.toMatchObject({ kind: "bad_answer" });
  }
  await expect(parseJson(Buffer.from("[1"))).rejects.toMatchObject({ kind: "bad_answer" });
});
