/**
 * Numbers the hand-overs of new configuration to the cache, so that what they change can be followed to its acceptance by each data plane.
 * What changes the cache without being one, such as endpoints from registries, is followed by nobody.
 */
export class Publications {
  #count = 0;
  #current: number | undefined;

  /** The one under way; undefined outside of any. */
  get current(): number | undefined {
    return this.#current;
  }

  /** Runs a hand-over: what it changes in the cache belongs to the publication whose number it is given. It must not wait. */
  run<Result>(handOver: (publication: number) => Result): Result {
    this.#current = ++this.#count;
    try {
      return handOver(this.#current);
    } finally {
      this.#current = undefined;
    }
  }
}
