import { once } from "node:events";

import { expect, test } from "vitest";

import { TestServer } from "../../test/support/data-path.ts";
import { RawClient } from "../../test/support/raw-client.ts";
import { collectUncaught } from "../../test/support/uncaught.ts";
import { collectWarnings } from "../../test/support/warnings.ts";
import { Timer, TimerWheel } from "./timers.ts";

/** Timers that note when they end, with a promise for the last. */
function recording(wheel: TimerWheel, delays: number[]) {
  const ended: number[] = [];
  const { promise, resolve } = Promise.withResolvers<number[]>();
  const owner = {
    onTimer(kind: number) {
      ended.push(kind);
      if (kind === delays.length - 1) resolve(ended);
    },
  };
  const timers = delays.map((delay, kind) => {
    const timer = new Timer(owner, kind);
    wheel.schedule(timer, delay);
    return timer;
  });
  return { timers, ended, last: promise };
}

// A socket would keep the process alive; here it is the test's own wait.
const waiting = <T>(promise: Promise<T>): Promise<T> => {
  const hold = setInterval(() => {}, 1_000);
  return promise.finally(() => clearInterval(hold));
};

test("timers end in order, cancelled ones don't, restarted ones once", async () => {
  const wheel = new TimerWheel();
  const { timers, last } = recording(wheel, [60, 30, 90, 30, 200]);
  wheel.cancel(timers[2] as Timer);
  wheel.schedule(timers[3] as Timer, 120);
  expect(await waiting(last)).toEqual([1, 0, 3, 4]);
  expect(timers.every((timer) => timer.tick === -1)).toBe(true);
});

test("a deadline beyond one turn of the wheel isn't taken for one of this turn", async () => {
  const wheel = new TimerWheel();
  const { ended, timers, last } = recording(wheel, [5_120 + 50, 100]);
  await waiting(last);
  expect(ended).toEqual([1]);
  wheel.cancel(timers[0] as Timer);
});

test("a deadline beyond what Node's timers know wakes nobody before", async () => {
  const warnings = collectWarnings();
  const wheel = new TimerWheel();
  const { ended, timers } = recording(wheel, [2 ** 31]);
  // Told in another turn.
  for (let turn = 0; turn < 5; turn++) await new Promise(setImmediate);
  expect([ended, warnings]).toEqual([[], []]);
  wheel.cancel(timers[0] as Timer);
});

test("a timer may start and cancel others while it ends", async () => {
  const wheel = new TimerWheel();
  const { promise, resolve } = Promise.withResolvers<void>();
  const other = new Timer({ onTimer: () => expect.unreachable("it was cancelled") }, 0);
  const next = new Timer({ onTimer: () => resolve() }, 0);
  const first = new Timer(
    {
      onTimer() {
        wheel.cancel(other);
        wheel.schedule(next, 10);
      },
    },
    0,
  );
  wheel.schedule(first, 20);
  wheel.schedule(other, 60);
  // Both are due when the wheel turns next, in this order.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 150);
  await waiting(promise);
});

test("what came while the thread stood still is read before a deadline ends that waited for it", async () => {
  const order: string[] = [];
  await using server = await TestServer.raw((socket) => socket.on("data", () => order.push("read")));
  using client = new RawClient(server.port);
  await Promise.all([once(client.socket, "connect"), once(server.server, "connection")]);
  const { promise, resolve } = Promise.withResolvers<void>();
  const owner = {
    onTimer: () => {
      order.push("deadline");
      resolve();
    },
  };
  new TimerWheel().schedule(new Timer(owner, 0), 20);
  client.send("x");
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 150);
  await promise;
  expect(order).toEqual(["read", "deadline"]);
});

test("what is thrown when one ends keeps none of the others back", async () => {
  const thrown = collectUncaught();
  const wheel = new TimerWheel();
  const bug = {
    onTimer() {
      throw new Error("a bug");
    },
  };
  const { promise, resolve } = Promise.withResolvers<void>();
  wheel.schedule(new Timer(bug, 0), 20);
  wheel.schedule(new Timer({ onTimer: () => resolve() }, 0), 30);
  // All of them are due when the wheel turns next.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 150);
  await waiting(promise);
  expect(thrown).toEqual(["a bug"]);
});
