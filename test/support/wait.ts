import { setTimeout as sleep } from "node:timers/promises";

/** What comes at all comes within this time on a slow machine that does other things besides; no test asserts that it comes sooner. */
const WAIT_MS = 60_000;

/**
 * Waits for a state: calls `look` until it gives something other than undefined or false, and returns that. Then it throws
 * with what `look` last threw, so that a test says what was missing: after a minute, or after `longerMs` for what may take more than that.
 */
export async function waitFor<T>(what: string, look: () => T | Promise<T>, longerMs = 0): Promise<NonNullable<T>> {
  const timeoutMs = Math.max(WAIT_MS, longerMs);
  const end = performance.now() + timeoutMs;
  let last: unknown;
  for (;;) {
    try {
      const found = await look();
      if (found !== undefined && found !== null && found !== false) return found;
      last = undefined;
    } catch (error) {
      last = error;
    }
    if (performance.now() > end) throw new Error(`waited ${timeoutMs} ms in vain for ${what}`, { cause: last });
    await sleep(20);
  }
}

/** Waits until a condition holds, looking again every few ms. @throws Error after a minute, with the condition as it is written */
export async function until(condition: () => boolean): Promise<void> {
  const end = performance.now() + WAIT_MS;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`waited ${WAIT_MS} ms in vain for ${String(condition)}`);
    await pause(5);
  }
}

/** How long nothing has to move for {@link standstill} to call it one. A machine that is slow makes it find one too soon, never fail. */
const STANDSTILL_MS = 300;

/** Waits until a figure is above 0 and has not changed for a while: that nothing happens is the point, and no event tells of that. Returns the figure. */
export async function standstill(figure: () => number): Promise<number> {
  for (let before = 0; ; before = figure()) {
    await pause(STANDSTILL_MS);
    if (before > 0 && before === figure()) return before;
  }
}

/** Lets time go by in which something must not happen. */
export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
