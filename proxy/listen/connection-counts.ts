/** What is counted: open connections, and workers that take some. What comes and goes (limits, clients) is for keyed-counts.ts. */
const counted = ["all", "workers"] as const;

/** Memory for the counts of so many workers, all zero. */
export const connectionCountsMemory = (workersMax: number): SharedArrayBuffer =>
  new SharedArrayBuffer(counted.length * workersMax * Int32Array.BYTES_PER_ELEMENT);

/**
 * Open connections, counted in memory that all workers share, so that limits hold for all of them together. Each worker has a column of its own, and adds
 * before it looks at the sum: two that come at once may both be refused at the limit, but never both be taken beyond it.
 */
export class ConnectionCounts {
  readonly #words: Int32Array;
  readonly #column: number;
  readonly #columns: number;

  /** `worker`: the caller's place among the workers. */
  constructor(memory: SharedArrayBuffer, worker: number) {
    this.#words = new Int32Array(memory);
    this.#columns = this.#words.length / counted.length;
    this.#column = worker;
  }

  /** The counter that all workers have in common. */
  counter(of: (typeof counted)[number]): ConnectionCounter {
    return new ConnectionCounter(this.#words, counted.indexOf(of) * this.#columns, this.#columns, this.#column);
  }

  /** A worker is gone, with all of its connections. */
  forget(worker: number): void {
    for (let row = 0; row < counted.length; row++) Atomics.store(this.#words, row * this.#columns + worker, 0);
  }
}

/** One number that all workers add to. */
export class ConnectionCounter {
  readonly #words: Int32Array;
  readonly #base: number;
  readonly #columns: number;
  readonly #own: number;

  constructor(words: Int32Array, base: number, columns: number, column: number) {
    this.#words = words;
    this.#base = base;
    this.#columns = columns;
    this.#own = base + column;
  }

  /** Counts one more unless that would be more than `max`. */
  take(max: number): boolean {
    Atomics.add(this.#words, this.#own, 1);
    if (this.sum <= max) return true;
    this.release();
    return false;
  }

  /** Counts one less. */
  release(): void {
    Atomics.sub(this.#words, this.#own, 1);
  }

  /** Of this worker. */
  get own(): number {
    return Atomics.load(this.#words, this.#own);
  }

  /** Of all workers. */
  get sum(): number {
    let sum = 0;
    for (let column = 0; column < this.#columns; column++) sum += Atomics.load(this.#words, this.#base + column);
    return sum;
  }
}
