/** One counter to add to. */
export interface Increment {
  /** Of counter and window. */
  readonly key: string;
  /** Whose counter it is: the limits' domain, or empty where there is no such domain. What one owner counts should make no room at others' cost. */
  readonly owner: string;
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
  /** By the end of their window, so that a window's end forgets all of its counters at once, and by owner. There are few windows: one or two of each unit. */
  readonly #windows = new Map<number, Map<string, Map<string, number>>>();
  #size = 0;
  /**
   * Counters that were forgotten before their time, for want of room: the oldest of the owner that has the most in one window. Values are clients'
   * words: who makes many up, by a limit that holds for a day or for a domain of its own, forgets those, and not what others' limits have counted.
   */
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

  #add({ key, owner, amount, endMs }: Increment): number {
    let window = this.#windows.get(endMs);
    if (window === undefined) this.#windows.set(endMs, (window = new Map()));
    let counts = window.get(owner);
    if (counts === undefined) window.set(owner, (counts = new Map()));
    const before = counts.get(key);
    if (before === undefined) {
      if (this.#size >= this.#max) this.#evict();
      this.#size++;
    }
    const after = (before ?? 0) + amount;
    counts.set(key, after);
    return after;
  }

  #forget(): void {
    const now = this.#now();
    for (const [endMs, window] of this.#windows) {
      if (endMs > now) continue;
      for (const counts of window.values()) this.#size -= counts.size;
      this.#windows.delete(endMs);
    }
  }

  #evict(): void {
    let fullest: Map<string, number> | undefined;
    for (const window of this.#windows.values()) {
      for (const counts of window.values()) if (counts.size > (fullest?.size ?? 0)) fullest = counts;
    }
    const [oldest] = fullest?.keys() ?? [];
    if (oldest === undefined || fullest === undefined) return;
    fullest.delete(oldest);
    this.#size--;
    this.evicted++;
  }
}
