/** Sending to collectors: batches, bounds, and collectors that fail. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { Batcher } from "./batcher.ts";

class Sum {
  value = 0;
  inc(by = 1): void {
    this.value += by;
  }
}

const batches: string[][] = [];
let fail = false;
let hold: Promise<void> | undefined;
const stats = { sent: new Sum(), dropped: new Sum() };

const batcher = (flushMs = 100) =>
  new Batcher<string>({
    batchBytes: 10,
    flushMs,
    waitingBytesMax: 20,
    stats,
    async send(batch) {
      batches.push([...batch]);
      await hold;
      if (fail) throw new Error("no");
    },
  });

beforeEach(() => {
  vi.useFakeTimers();
  batches.length = 0;
  fail = false;
  hold = undefined;
  stats.sent.value = 0;
  stats.dropped.value = 0;
});

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

test("a batch goes when it is large enough, or old enough", async () => {
  const it = batcher();
  it.add("a", 4);
  it.add("b", 6);
  expect(batches).toEqual([["a", "b"]]);
  await vi.advanceTimersByTimeAsync(0);
  it.add("c", 1);
  expect(batches).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(100);
  expect(batches[1]).toEqual(["c"]);
  expect(stats.sent.value).toBe(3);
});

test("what comes while a batch is on its way waits, as far as there is room", async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  hold = promise;
  const it = batcher();
  it.add("a", 10);
  it.add("b", 15);
  it.add("c", 6);
  it.add("d", 5);
  expect(batches).toEqual([["a"]]);
  expect(stats.dropped.value).toBe(1);
  resolve();
  await vi.advanceTimersByTimeAsync(0);
  expect(batches[1]).toEqual(["b", "d"]);
});

test("after a failure the batch is lost, and the next waits longer each time", async () => {
  vi.spyOn(Math, "random").mockReturnValue(0);
  fail = true;
  const it = batcher();
  it.add("a", 10);
  await vi.advanceTimersByTimeAsync(0);
  expect(stats.dropped.value).toBe(1);
  it.add("b", 10);
  await vi.advanceTimersByTimeAsync(240);
  expect(batches).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(10);
  expect(batches).toHaveLength(2);
  fail = false;
  it.add("c", 10);
  await vi.advanceTimersByTimeAsync(490);
  expect(batches).toHaveLength(2);
  await vi.advanceTimersByTimeAsync(10);
  expect(batches[2]).toEqual(["c"]);
});

test("the end sends what is left, and waits for a collector that hangs no longer than it must", async () => {
  const it = batcher();
  it.add("a", 1);
  await it.close();
  expect(batches).toEqual([["a"]]);
  hold = new Promise(() => {});
  const other = batcher();
  other.add("b", 10);
  other.add("c", 1);
  const closed = other.close();
  await vi.advanceTimersByTimeAsync(2_000);
  await closed;
  expect(stats.dropped.value).toBe(1);
});

test("a wait beyond what timers know is a long one, and not none", async () => {
  batcher(2 ** 31).add("a", 1);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(batches).toEqual([]);
});
