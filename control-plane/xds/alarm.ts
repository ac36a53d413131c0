/**
 * A timer that is asked for later and later times, most of which never come to pass: a request for a time after the one that it is set to
 * costs nothing. It then rings early, and whoever hears it looks again and asks anew.
 */
export class Alarm {
  readonly #now: () => number;
  readonly #ring: () => void;
  #timer: NodeJS.Timeout | undefined;
  #ringing: NodeJS.Immediate | undefined;
  #dueMs = Number.POSITIVE_INFINITY;

  /** @param now in milliseconds, the clock of the times to come */
  constructor(now: () => number, ring: () => void) {
    this.#now = now;
    this.#ring = ring;
  }

  /** Sees to it that it rings at this time or before, and not earlier than a time that was asked for. */
  at(timeMs: number): void {
    if (timeMs >= this.#dueMs) return;
    this.clear();
    this.#dueMs = timeMs;
    // Timers may fire a little early; a millisecond more keeps them from ringing twice.
    const delayMs = Math.max(0, timeMs - this.#now()) + 1;
    this.#timer = setTimeout(() => {
      // Where this process stood still, what has come meanwhile lies unread, and timers go before sockets: nobody is late until that is read.
      this.#ringing = setImmediate(() => {
        this.#dueMs = Number.POSITIVE_INFINITY;
        this.#ring();
      });
    }, delayMs).unref();
  }

  /** It doesn't ring any more unless it is asked again. */
  clear(): void {
    clearTimeout(this.#timer);
    clearImmediate(this.#ringing);
    this.#dueMs = Number.POSITIVE_INFINITY;
  }
}
