/** Of the first wait, at most; later ones double it. */
const CAP_MS_FIRST = 250;
/** However long a registry is away, it is noticed so soon after its return. */
const CAP_MS_MAX = 8_000;
/** Not even luck makes retries a busy loop. */
const DELAY_MS_MIN = 50;

/**
 * How long to wait after so many failures in a row: anything between nothing (almost) and a cap that doubles ("full jitter"), so that
 * thousands of watches that broke at once don't come back at once.
 * @param failures from 1
 * @param random from 0 to below 1
 */
export function retryDelayMs(failures: number, random: number = Math.random()): number {
  const capMs = Math.min(CAP_MS_MAX, CAP_MS_FIRST * 2 ** Math.min(failures - 1, 30));
  return DELAY_MS_MIN + random * (capMs - DELAY_MS_MIN);
}

/** Waits; returns at once when the signal is aborted. Runs on the global timers, which tests may fake. */
export async function sleep(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener("abort", end);
  });
}
