import type { ConnectionCounter } from "./connection-counts.ts";
import { Timer, type TimerOwner, timers } from "./timers.ts";

const CHECK_MS = 1_000;
/** What a worker may have above its share: the kernel deals connections out at random, and evenness beyond this is worth no reconnect. */
const EXCESS_MIN = 8;
const EXCESS_SHARE = 0.25;

/**
 * How many of its connections a worker should let go, so that they come to others; 0 as long as it has hardly more than its share. Half of what is too
 * much: the next look is soon, and some come back.
 */
export function excessOf(own: number, all: number, workers: number): number {
  if (workers < 2) return 0;
  const share = all / workers;
  const excess = own - share;
  return excess > Math.max(EXCESS_MIN, share * EXCESS_SHARE) ? Math.ceil(excess / 2) : 0;
}

/**
 * Keeps connections spread over the workers. The kernel deals new ones out evenly, at random; but those that stay for hours gather on the workers that are
 * older, since one that is added, or replaces another, has none. A worker that has too many ends some after their next answer; their clients connect again.
 */
export class Crowd implements TimerOwner {
  readonly #connections: ConnectionCounter;
  readonly #workers: ConnectionCounter;
  readonly #timer: Timer = new Timer(this, 0);
  #toLeave = 0;
  /** By the look before this one. */
  #excessBefore = 0;
  #joined = false;

  /** `connections` and `workers`: counted by all workers; the latter by this alone. */
  constructor(connections: ConnectionCounter, workers: ConnectionCounter) {
    this.#connections = connections;
    this.#workers = workers;
  }

  /** This worker takes connections from now on. */
  join(): void {
    if (this.#joined) return;
    this.#joined = true;
    this.#workers.take(Number.POSITIVE_INFINITY);
    timers.schedule(this.#timer, CHECK_MS);
  }

  /** It does no longer. */
  part(): void {
    timers.cancel(this.#timer);
    this.#toLeave = this.#excessBefore = 0;
    if (this.#joined) this.#workers.release();
    this.#joined = false;
  }

  onTimer(): void {
    const excess = excessOf(this.#connections.own, this.#connections.sum, this.#workers.sum);
    // What a burst of new connections brings by chance mostly goes with it: only what lasts is worth a reconnect.
    this.#toLeave = Math.min(excess, this.#excessBefore);
    this.#excessBefore = excess;
    timers.schedule(this.#timer, CHECK_MS);
  }

  /** Whether a connection that has a request should be one of those that leave; each call that says so counts as one. */
  sendsAway(): boolean {
    if (this.#toLeave === 0) return false;
    this.#toLeave--;
    return true;
  }
}
