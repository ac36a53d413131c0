import { createHash } from "node:crypto";

/** Things that are counted: all connections, and those of filter chains with a limit. */
const SLOTS = 512;
/** Two words that name a slot's owner. */
const OWNER_WORDS = 2;

/** Memory for the open connections of so many workers, all zero. */
export const connectionCountsMemory = (workersMax: number): SharedArrayBuffer =>
  new SharedArrayBuffer(SLOTS * (OWNER_WORDS + workersMax) * Int32Array.BYTES_PER_ELEMENT);

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
    this.#columns = this.#words.length / SLOTS - OWNER_WORDS;
    this.#column = worker;
  }

  /** The counter that all workers know by this key; undefined: there are too many. */
  counter(key: string): ConnectionCounter | undefined {
    const hash = createHash("sha256").update(key).digest();
    // Zero means: free.
    const owner = hash.readInt32LE(0) || 1;
    const check = hash.readInt32LE(4) || 1;
    for (let probe = 0; probe < SLOTS; probe++) {
      const at = ((owner >>> 0) + probe) % SLOTS;
      const base = at * (OWNER_WORDS + this.#columns);
      const found = Atomics.compareExchange(this.#words, base, 0, owner);
      if (found !== 0 && found !== owner) continue;
      const sealed = Atomics.compareExchange(this.#words, base + 1, 0, check);
      if (sealed === 0 || sealed === check) {
        return new ConnectionCounter(this.#words, base + OWNER_WORDS, this.#columns, this.#column);
      }
    }
    return undefined;
  }

  /** A worker is gone, with all of its connections. */
  forget(worker: number): void {
    for (let at = 0; at < SLOTS; at++) {
      Atomics.store(this.#words, at * (OWNER_WORDS + this.#columns) + OWNER_WORDS + worker, 0);
    }
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
