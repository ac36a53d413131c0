/**
 * Whatever a registry says all at once (a re-list of a hundred thousand endpoints, all watches that begin anew), others have their turn
 * every few milliseconds: work on it goes through here, a piece at a time.
 */
import { setImmediate } from "node:timers";

/** So long does work on what registries say hold the event loop in one go, a piece of work more at most. */
const STRETCH_MS = 5;

const now = performance.now.bind(performance);
const waiting: (() => void)[] = [];
/** When the work of this round of the event loop began; undefined: there was none yet. */
let beganMs: number | undefined;

/**
 * Fulfilled when a piece of work may be done: at once while there is time left in this round of the event loop, else in a later one, in the
 * order of the calls. The work is what the caller does before it waits for something else.
 */
export function turn(): Promise<void> {
  if (waiting.length === 0) {
    if (beganMs === undefined) begin();
    if (isTimeLeft()) return Promise.resolve();
  }
  return new Promise((resolve) => waiting.push(resolve));
}

function begin(): void {
  beganMs = now();
  setImmediate(() => void nextRound());
}

const isTimeLeft = () => beganMs !== undefined && now() - beganMs < STRETCH_MS;

async function nextRound(): Promise<void> {
  beganMs = undefined;
  if (waiting.length === 0) return;
  begin();
  do {
    waiting.shift()?.();
    // Lets whoever was waiting do their work, before a look at the clock.
    await undefined;
  } while (waiting.length > 0 && isTimeLeft());
}
