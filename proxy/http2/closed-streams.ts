/** How many of the streams that ended last are known to have been open. */
const RECENT = 64;
/** How many streams that we reset are remembered: the peer may have sent more before it knew. */
const RESET_MAX = 256;

/**
 * What is remembered of streams that are over (RFC 9113, 5.1, "closed"), to tell frames that were under way when we reset a stream, which are to be
 * ignored, from those that break the protocol.
 */
export class ClosedStreams {
  readonly #recent = new Int32Array(RECENT);
  #next = 0;
  readonly #reset = new Set<number>();
  /** Streams up to here may be among those that we reset and have forgotten. */
  #forgotten = 0;

  /** A stream is over. `byUs`: we reset it before the peer had ended it. */
  add(id: number, byUs: boolean): void {
    this.#recent[this.#next] = id;
    this.#next = (this.#next + 1) % RECENT;
    if (!byUs) return;
    this.#reset.add(id);
    if (this.#reset.size <= RESET_MAX) return;
    for (const oldest of this.#reset) {
      this.#reset.delete(oldest);
      this.#forgotten = Math.max(this.#forgotten, oldest);
      return;
    }
  }

  /** Whether what still comes on it may have been under way when we reset it. */
  mayFollow(id: number): boolean {
    return id <= this.#forgotten || this.#reset.has(id);
  }

  /** Whether it was open a short while ago. */
  wasOpen(id: number): boolean {
    return this.#recent.includes(id);
  }
}
