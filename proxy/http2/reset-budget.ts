/** Streams after which the share of broken ones counts, and the share that is too much (Envoy: premature_reset_total_stream_count, a half). */
const STREAMS_MIN = 500;
const BROKEN_SHARE_MAX = 0.5;
/** A stream that lived longer than this wasn't opened only to be reset. */
const SHORT_LIFE_MS = 1_000;

/**
 * Tells a client that opens streams only to reset them ("rapid reset", CVE-2023-44487), or to have us reset them ("made you reset",
 * CVE-2025-8671), from one that sometimes changes its mind.
 */
export class ResetBudget {
  #streams = 0;
  #broken = 0;

  /** Counts a stream that is over. `complete`: its response was sent to the end. False: the client has gone too far. */
  allows(complete: boolean, lifeMs: number): boolean {
    this.#streams++;
    if (!complete && lifeMs < SHORT_LIFE_MS) this.#broken++;
    return this.#streams < STREAMS_MIN || this.#broken < this.#streams * BROKEN_SHARE_MAX;
  }
}
