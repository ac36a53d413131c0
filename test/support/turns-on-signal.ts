/**
 * Preloaded into a program under test (NODE_OPTIONS="--import=…"): from one SIGUSR2 to the next it measures how long its event loop is held
 * in one go at most, and how long the longest garbage collection takes, and then prints both to standard error, as a line "turns MS gc MS".
 */
import { monitorEventLoopDelay, PerformanceObserver } from "node:perf_hooks";

/** The event loop is asked for a turn so often; what it takes beyond that it was held. */
const RESOLUTION_MS = 1;

const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
let gcMs = 0;
const collections = new PerformanceObserver((list) => {
  for (const { duration } of list.getEntries()) gcMs = Math.max(gcMs, duration);
});
let measuring = false;

process.on("SIGUSR2", () => {
  measuring = !measuring;
  if (measuring) {
    gcMs = 0;
    delay.reset();
    delay.enable();
    collections.observe({ entryTypes: ["gc"] });
    return;
  }
  delay.disable();
  collections.disconnect();
  const turnMs = Math.max(0, delay.max / 1e6 - RESOLUTION_MS);
  process.stderr.write(`turns ${turnMs.toFixed(1)} gc ${gcMs.toFixed(1)}\n`);
});
