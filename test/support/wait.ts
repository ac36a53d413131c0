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
