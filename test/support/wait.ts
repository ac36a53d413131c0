import { setTimeout as sleep } from "node:timers/promises";

/**
 * Waits for a state: calls `look` until it gives something other than undefined or false, and returns that. After `timeoutMs` it throws
 * with what `look` last threw, so that a test says what was missing.
 */
export async function waitFor<T>(
  what: string,
  look: () => T | Promise<T>,
  timeoutMs = 60_000,
): Promise<NonNullable<T>> {
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
