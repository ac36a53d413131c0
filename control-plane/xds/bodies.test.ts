import { expect, test } from "vitest";

import { Bodies } from "./bodies.ts";
import { encodeEntry } from "./wire.ts";

const TYPE = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
const entry = (name: string, text: string) => encodeEntry(name, "v", TYPE, Buffer.from(text));
const entries = (count: number) => Array.from({ length: count }, (_, at) => entry(`c${at}`, String(at)));

test.each([1, 2, 100])("%d resources are joined in their order", (count) => {
  const list = entries(count);
  expect(new Bodies("delta").of(TYPE, list)).toEqual(Buffer.concat(list.map(({ delta }) => delta)));
  expect(new Bodies("sotw").of(TYPE, list)).toEqual(Buffer.concat(list.map(({ sotw }) => sotw)));
});

test("the same long list is joined once; one that differs in an entry or in its length is another", () => {
  const bodies = new Bodies("delta");
  const list = entries(100);
  const first = bodies.of(TYPE, list);
  expect(bodies.of(TYPE, [...list])).toBe(first);
  const changed = list.with(50, entry("c50", "other"));
  expect(bodies.of(TYPE, changed)).toEqual(Buffer.concat(changed.map(({ delta }) => delta)));
  expect(bodies.of(TYPE, changed.slice(1))).toEqual(Buffer.concat(changed.slice(1).map(({ delta }) => delta)));
  expect(bodies.of(TYPE, list)).toEqual(first);
});
