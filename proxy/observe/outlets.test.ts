import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { Outlets } from "./outlets.ts";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

const DRAIN_MS = 10_000;

/** Outlets of which it is known which are closed, and listeners that use some. */
function start() {
  const outlets = new Outlets(DRAIN_MS);
  const closed: string[] = [];
  const configure = (listener: string, ...names: string[]) => {
    const { keys } = outlets.noting(() => {
      for (const name of names) outlets.get(name, () => ({ close: async () => void closed.push(name) }));
    });
    outlets.use(listener, keys);
  };
  return { outlets, closed, configure };
}

test("what no listener uses any more is closed once its connections have ended, and not sooner", async () => {
  const { outlets, closed, configure } = start();
  configure("a", "file", "stream");
  configure("b", "file");
  configure("a", "other stream");
  await vi.advanceTimersByTimeAsync(DRAIN_MS);
  expect(closed).toEqual([]);
  await vi.advanceTimersByTimeAsync(DRAIN_MS);
  expect(closed).toEqual(["stream"]);
  outlets.use("b", undefined);
  await vi.advanceTimersByTimeAsync(2 * DRAIN_MS);
  expect(closed).toEqual(["stream", "file"]);
  expect([...outlets.values()]).toHaveLength(1);
  expect(vi.getTimerCount()).toBe(0);
});

test("what is used again meanwhile stays, and is the same", async () => {
  const { outlets, closed, configure } = start();
  configure("a", "file");
  const [file] = outlets.values();
  configure("a");
  await vi.advanceTimersByTimeAsync(DRAIN_MS / 2);
  configure("b", "file");
  await vi.advanceTimersByTimeAsync(10 * DRAIN_MS);
  expect(closed).toEqual([]);
  expect([...outlets.values()]).toEqual([file]);
});

test("a listener that could not be changed uses what it used before", async () => {
  const { outlets, closed, configure } = start();
  configure("a", "file");
  configure("a", "other file");
  outlets.keep("a");
  await vi.advanceTimersByTimeAsync(10 * DRAIN_MS);
  expect(closed).toEqual([]);
  configure("a", "other file");
  await vi.advanceTimersByTimeAsync(10 * DRAIN_MS);
  expect(closed).toEqual(["file"]);
});

test("what was asked for and never used is closed, too", async () => {
  const { outlets, closed } = start();
  outlets.noting(() => outlets.get("file", () => ({ close: async () => void closed.push("file") })));
  await vi.advanceTimersByTimeAsync(2 * DRAIN_MS);
  expect(closed).toEqual(["file"]);
});
