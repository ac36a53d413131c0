/**
 * Spreads the first syncs of a thundering herd: after a restart or a new machine all data planes come at once, and each first answer is
 * the largest that a stream ever gets (lesson 28). A token bucket: a burst goes at once, the rest one after the other at a steady rate.
 */
export class FirstSyncs {
  readonly #perSecond: number;
  readonly #burst: number;
  /** When the bucket was, or will be, as full as it gets; time of the last reservation plus its cost. */
  #fullAtMs = Number.NEGATIVE_INFINITY;

  /** @param perSecond of streams; @param burst how many may begin at once */
  constructor({ perSecond, burst }: { readonly perSecond: number; readonly burst: number }) {
    this.#perSecond = perSecond;
    this.#burst = burst;
  }

  /**
   * Takes a place for one stream.
   *
   * @param waitMsMax how long it may have to wait
   * @returns when it may begin, on the clock of `nowMs`; undefined if that would be too late, and then no place is taken
   */
  reserve(nowMs: number, waitMsMax: number): number | undefined {
    const costMs = 1_000 / this.#perSecond;
    const fullAtMs = Math.max(this.#fullAtMs, nowMs) + costMs;
    const startMs = Math.max(nowMs, Math.ceil(fullAtMs - this.#burst * costMs));
    if (startMs - nowMs > waitMsMax) return undefined;
    this.#fullAtMs = fullAtMs;
    return startMs;
  }
}
