import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { HostNames, repeated } from "./host-names.ts";

const failure = (code: string) => Object.assign(new Error(code), { code });

test("a name keeps its addresses while no resolver answers, and loses them when it is said not to exist", async () => {
  let answer: () => readonly string[] = () => ["10.0.0.2", "10.0.0.1"];
  const names = new HostNames(async () => answer());
  expect(await names.resolve(["db", "db"])).toEqual(new Map([["db", ["10.0.0.1", "10.0.0.2"]]]));
  answer = () => {
    throw failure("EAI_AGAIN");
  };
  expect(await names.resolve(["db", "new"])).toEqual(
    new Map([
      ["db", ["10.0.0.1", "10.0.0.2"]],
      ["new", []],
    ]),
  );
  answer = () => {
    throw failure("ENOTFOUND");
  };
  expect(await names.resolve(["db"])).toEqual(new Map([["db", []]]));
});

test("few names are looked up at once", async () => {
  let underWay = 0;
  let most = 0;
  const names = new HostNames(async (name) => {
    most = Math.max(most, ++underWay);
    await Promise.resolve();
    underWay--;
    return [name];
  });
  const all = Array.from({ length: 100 }, (_, at) => `n${at}`);
  expect([...(await names.resolve(all)).keys()].sort()).toEqual(all.toSorted());
  expect(most).toBe(4);
});

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test("the latest item comes again after its time until there is a later one, and the end is the end", async () => {
  const first = Promise.withResolvers<void>();
  const stop = new AbortController();
  async function* items() {
    yield 1;
    await first.promise;
    yield 2;
    await new Promise(() => {});
  }
  const seen: number[] = [];
  const done = (async () => {
    const intervalMs = (item: number) => (item === 1 ? 1_000 : undefined);
    for await (const item of repeated(items(), intervalMs, stop.signal)) seen.push(item);
  })();
  await vi.advanceTimersByTimeAsync(2_500);
  expect(seen).toEqual([1, 1, 1]);
  first.resolve();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(seen).toEqual([1, 1, 1, 2]);
  stop.abort();
  await done;
});

test("what is thrown is thrown on", async () => {
  async function* items() {
    yield 1;
    throw new Error("over");
  }
  const all = repeated(items(), () => undefined, new AbortController().signal);
  expect((await all.next()).value).toBe(1);
  await expect(all.next()).rejects.toThrow("over");
});
