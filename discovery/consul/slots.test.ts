import fc from "fast-check";
import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { QuestionSlots, type Slot, type SlotMember } from "./slots.ts";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

const never = new AbortController().signal;

/** Some watches, and what they got. */
function crowd(slots: QuestionSlots, size: number) {
  const granted: number[] = [];
  const got = new Map<number, Slot>();
  const members: SlotMember[] = Array.from({ length: size }, (_, at) => slots.join(`s${at}`, never));
  const ask = (at: number) => {
    void members[at]?.acquire().then((slot) => {
      if (slot === undefined) throw new Error("its watch has not ended");
      granted.push(at);
      got.set(at, slot);
    });
  };
  return { granted, got, members, ask };
}

const settle = () => vi.advanceTimersByTimeAsync(0);

test("where there are slots for all, each watch waits for as long as it likes", async () => {
  const { ask, got } = crowd(new QuestionSlots(3), 3);
  for (let at = 0; at < 3; at++) ask(at);
  await settle();
  expect([...got.values()].map(({ waitMs }) => waitMs)).toEqual([undefined, undefined, undefined]);
});

test("when it becomes crowded, those who wait make room, and all take turns", async () => {
  const crowding: boolean[] = [];
  const slots = new QuestionSlots(2, (crowded) => crowding.push(crowded));
  const first = crowd(slots, 2);
  first.ask(0);
  first.ask(1);
  await settle();
  const more = crowd(slots, 2);
  expect(crowding).toEqual([true]);
  expect([...first.got.values()].every(({ revoked }) => revoked.aborted)).toBe(true);
  more.ask(0);
  more.ask(1);
  await settle();
  expect(more.granted).toEqual([]);
  for (const member of first.members) member.release(false);
  first.ask(0);
  await settle();
  expect(more.granted).toEqual([0, 1]);
  expect(more.got.get(0)?.waitMs).toBe(500);
  more.members[0]?.release(false);
  await settle();
  expect(first.granted).toEqual([0, 1, 0]);
  for (const member of more.members) member.leave();
  expect(crowding).toEqual([true, false]);
});

test("a hint and a change put a service before the others; one that changed keeps its slot for a while", async () => {
  const slots = new QuestionSlots(2);
  const { ask, granted, got, members } = crowd(slots, 5);
  for (let at = 0; at < 5; at++) ask(at);
  await settle();
  expect(granted).toEqual([0, 1]);
  slots.hint("s4");
  members[0]?.release(true);
  await settle();
  expect(granted).toEqual([0, 1, 4]);
  ask(0);
  members[1]?.release(false);
  await settle();
  expect(granted).toEqual([0, 1, 4, 0]);
  expect(got.get(0)?.waitMs).toBe(10_000);
  // A change of long ago counts no more.
  members[0]?.release(false);
  await vi.advanceTimersByTimeAsync(60_000);
  ask(0);
  members[4]?.release(false);
  await settle();
  expect(granted).toEqual([0, 1, 4, 0, 2, 3]);
});

test("more slots, as over HTTP/2, end the crowding", async () => {
  const slots = new QuestionSlots(1);
  const { ask, granted, got } = crowd(slots, 3);
  for (let at = 0; at < 3; at++) ask(at);
  slots.capacity = 200;
  await settle();
  expect(granted).toEqual([0, 1, 2]);
  expect(got.get(2)?.waitMs).toBeUndefined();
});

test("a watch that ends stops waiting for its turn, or for the answer, and leaves its place to others", async () => {
  const slots = new QuestionSlots(1);
  const [ending, waiting] = [new AbortController(), new AbortController()];
  const first = slots.join("first", ending.signal);
  const second = slots.join("second", waiting.signal);
  const slot = await first.acquire();
  const turn = second.acquire();
  waiting.abort();
  expect([await turn, await second.acquire()]).toEqual([undefined, undefined]);
  expect(slot?.revoked.aborted).toBe(false);
  ending.abort();
  expect(slot?.revoked.aborted).toBe(true);
  first.leave();
  const { ask, granted } = crowd(slots, 1);
  ask(0);
  await settle();
  expect(granted).toEqual([0]);
});

test("whatever happens, no more ask than there are slots, and everybody's turn comes", async () => {
  vi.useRealTimers();
  const steps = fc.array(fc.record({ hint: fc.option(fc.nat(9)), changed: fc.boolean() }), { minLength: 30 });
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 4 }), steps, async (capacity, all) => {
      const slots = new QuestionSlots(capacity);
      const { members } = crowd(slots, 10);
      const asking: number[] = [];
      const turns = new Map<number, number>();
      const join = (at: number) => {
        void members[at]?.acquire().then(() => {
          asking.push(at);
          turns.set(at, (turns.get(at) ?? 0) + 1);
        });
      };
      for (let at = 0; at < 10; at++) join(at);
      const round = async (hint: number | null, changed: boolean) => {
        await new Promise((resolve) => setImmediate(resolve));
        expect(asking.length).toBe(capacity);
        if (hint !== null) slots.hint(`s${hint}`);
        const done = asking.shift() ?? 0;
        members[done]?.release(changed);
        join(done);
      };
      for (const { hint, changed } of all) await round(hint, changed);
      for (let at = 0; at < 100; at++) await round(null, false);
      expect(turns.size).toBe(10);
    }),
    { numRuns: 30 },
  );
});
