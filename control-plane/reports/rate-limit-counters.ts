/** One counter to add to. */
export interface Increment {
  /** Of counter and window. */
  readonly key: string;
  /** At least 1. */
  readonly amount: number;
  /** When the counter's window ends, in milliseconds since the epoch; it may be forgotten from then on. */
  readonly endMs: number;
}

/** Where the rate limit service counts. A store that several control planes share gives limits that hold over all of them. */
export interface RateLimitCounters {
  /**
   * Adds to counters, each atomically, in one go.
   *
   * @returns what each counter has reached, in the order of the increments
   * @throws Error if the store cannot be reached; nobody is refused then
   */
  add(increments: readonly Increment[]): Promise<readonly number[]>;
}

/** Counters that are kept; a key takes about 200 bytes. */
const COUNTERS_MAX = 500_000;

/** Counters of this process: exact for the data planes that ask this control plane. */
export class MemoryCounters implements RateLimitCounters {
  readonly #max: number;
  readonly #now: () => number;
  /** By the end of their window, so that a window's end forgets all of its counters at once. There are few: one or two of each unit. */
  readonly #windows = new Map<number, Map<string, number>>();
  #size = 0;
  /** Counters that were forgotten before their time, for want of room: the oldest of the window that ends first. */
  evicted = 0;

  constructor({ max = COUNTERS_MAX, now = Date.now }: { readonly max?: number; readonly now?: () => number } = {}) {
    this.#max = max;
    this.#now = now;
  }

  get size(): number {
    return this.#size;
  }

  async add(increments: readonly Increment[]): Promise<readonly number[]> {
    this.#forget();
    return increments.map((increment) => this.#add(increment));
  }

  #add({ key, amount, endMs }: Increment): number {
    let window = this.#windows.get(endMs);
    if (window === undefined) this.#windows.set(endMs, (window = new Map()));
    const before = window.get(key);
    if (before === undefined) {
      if (this.#size >= this.#max) this.#evict();
      this.#size++;
    }
    const after = (before ?? 0) + amount;
    window.set(key, after);
    return after;
  }

  #forget(): void {
    const now = this.#now();
    for (const [endMs, window] of this.#windows) {
      if (endMs > now) continue;
      this.#size -= window.size;
      this.#windows.delete(endMs);
    }
  }

  #evict(): void {
    const full = [...this.#windows].filter(([, window]) => window.size > 0).sort(([a], [b]) => a - b);
    for (const [, window] of full.slice(0, 1)) {
      for (const key of window.keys()) {
        window.delete(key);
        this.#size--;
        this.evicted++;
        return;
      }
    }
  }
}
