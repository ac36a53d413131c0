import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { resourceType } from "#proto/resource-types.ts";

import { FirstAnswers } from "./first-answers.ts";
import { cachedResource, versionOf } from "./resource.ts";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

const { typeUrl } = resourceType("EDS");
const bytes = new Uint8Array([1, 2, 3]);
const resource = cachedResource(typeUrl, "a", versionOf(bytes), bytes);
const set = Object.assign(new Map([["a", resource]]), { version: "1" });
const question = { typeUrl, names: new Set(["a"]), version: "1", tellsMissing: true, budgetBytes: 1_000 };

test("an answer is shared while a crowd asks for it, and given up once nobody does", () => {
  const answers = new FirstAnswers();
  const first = answers.answer(question, set);
  expect(first.push.resources).toEqual([resource]);
  for (let minute = 0; minute < 3; minute++) {
    vi.advanceTimersByTime(60_000);
    expect(answers.answer(question, set)).toBe(first);
  }
  vi.advanceTimersByTime(120_000);
  expect(answers.answer(question, set)).not.toBe(first);
});
