/**
 * Preloaded into a program under test (NODE_OPTIONS="--import=…"): from one SIGUSR2 to the next it measures how long its event loop is held
 * in one go at most, how much of that it worked, and how long the longest garbage collection takes, and then prints them to standard error, as a
 * line "turns MS worked MS gc MS".
 */
import { monitorEventLoopDelay, PerformanceObserver } from "node:perf_hooks";

/** The event loop is asked for a turn so often; what it takes beyond that it was held. */
const RESOLUTION_MS = 1;

const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
let gcMs = 0;
/** Of the processor, by this thread alone: on a machine whose processors others want, too, that is less than the time that went by. */
let workedMs = 0;
let workedBefore = 0;
let looking: NodeJS.Timeout | undefined;
const worked = () => {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
};
const look = () => {
  const now = worked();
  workedMs = Math.max(workedMs, now - workedBefore);
  workedBefore = now;
};
const collections = new PerformanceObserver((list) => {
  for (const { duration } of list.getEntries()) gcMs = Math.max(gcMs, duration);
});
let measuring = false;

process.on("SIGUSR2", () => {
  measuring = !measuring;
  if (measuring) {
    gcMs = 0;
    workedMs = 0;
    workedBefore = worked();
    looking = setInterval(look, RESOLUTION_MS);
    delay.reset();
    delay.enable();
    collections.observe({ entryTypes: ["gc"] });
    return;
  }
  clearInterval(looking);
  delay.disable();
  collections.disconnect();
  const turnMs = Math.max(0, delay.max / 1e6 - RESOLUTION_MS);
  process.stderr.write(`turns ${turnMs.toFixed(1)} worked ${workedMs.toFixed(1)} gc ${gcMs.toFixed(1)}\n`);
});
