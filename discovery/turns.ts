/**
 * Whatever a registry says all at once (a re-list of a hundred thousand endpoints, all watches that begin anew), others have their turn
 * every few milliseconds: work on it goes through here, a piece at a time.
 */
import { setImmediate } from "node:timers";

/** So long does work on what registries say hold the event loop in one go, a piece of work more at most. */
const STRETCH_MS = 5;

const now = performance.now.bind(performance);
const waiting: (() => void)[] = [];
/** Those who go on with what somebody had a turn for. */
const goingOn: (() => void)[] = [];
let isDraining = false;
/** When the work of this round of the event loop began; undefined: there was none yet. */
let beganMs: number | undefined;

/**
 * Fulfilled when a piece of work may be done: in this round of the event loop while there is time left, else in a later one; one after the
 * other, in the order of the calls. The work is what the caller does before it waits for something else.
 */
export function turn(): Promise<void> {
  return join(waiting);
}

/**
 * The same for the second half of a piece of work, which comes before all first halves: otherwise thousands of them would lie about half
 * done, which is most of the memory.
 */
export function turnToGoOn(): Promise<void> {
  return join(goingOn);
}

function join(queue: (() => void)[]): Promise<void> {
  return new Promise((resolve) => {
    queue.push(resolve);
    if (!isDraining) void drain();
  });
}

async function drain(): Promise<void> {
  isDraining = true;
  // Others who come in this moment wait behind.
  await pause();
  while (waiting.length + goingOn.length > 0) {
    if (beganMs === undefined) {
      beganMs = now();
      setImmediate(() => (beganMs = undefined));
    }
    if (now() - beganMs < STRETCH_MS) {
      (goingOn.shift() ?? waiting.shift())?.();
      // Lets them do their work, before a look at the clock.
      await pause();
    } else {
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
  isDraining = false;
}

const pause = () => Promise.resolve();
