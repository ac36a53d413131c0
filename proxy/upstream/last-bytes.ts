import { Timer, type TimerOwner, timers } from "../listen/timers.ts";

/** How long an endpoint may take nothing of the last bytes of a tunnel. */
const STALL_MS = 10_000;

/** What is on its way to an endpoint, of a tunnel whose halves have both ended. */
export interface Tail {
  /** Bytes that it has not taken yet. */
  readonly unsentBytes: number;
  /** Closes at once what carries them, if it is not closed yet. */
  abandon(): void;
}

/**
 * Lets the last bytes of a tunnel leave after the tunnel itself is over: its client has been told of both ends, and nobody else waits for them. An endpoint
 * that still takes some may go on; from one that doesn't what carries them is taken away.
 */
export class LastBytes implements TimerOwner {
  readonly #tail: Tail;
  readonly #timer: Timer = new Timer(this, 0);
  #left: number;

  constructor(tail: Tail) {
    this.#tail = tail;
    this.#left = tail.unsentBytes;
    timers.schedule(this.#timer, STALL_MS);
  }

  onTimer(): void {
    const left = this.#tail.unsentBytes;
    if (left === 0 || left === this.#left) return this.#tail.abandon();
    this.#left = left;
    timers.schedule(this.#timer, STALL_MS);
  }
}
