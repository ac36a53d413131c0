import { createHash, randomFillSync } from "node:crypto";

/** Entries of a worker's table; with twice as many keys at once on one worker, some go uncounted. */
const ENTRIES = 16_384;
/** The entries that a key may have its place in. */
const WAYS = 16;
/** Two words that name the key, one that counts. */
const ENTRY_WORDS = 3;
const TABLE_WORDS = ENTRIES * ENTRY_WORDS;
/** The secret, and how many tables are in use. */
const SECRET_WORDS = 8;
const HEADER_WORDS = SECRET_WORDS + 1;

/** Memory for the keys of so many workers: nothing is counted yet. Untouched pages of it cost nothing. */
export function keyedCountsMemory(workersMax: number): SharedArrayBuffer {
  const memory = new SharedArrayBuffer((HEADER_WORDS + workersMax * TABLE_WORDS) * Int32Array.BYTES_PER_ELEMENT);
  // Nobody may choose keys that share a place.
  const secret = randomFillSync(new Uint8Array(SECRET_WORDS * Int32Array.BYTES_PER_ELEMENT));
  new Uint8Array(memory).set(secret);
  return memory;
}

/**
 * Open connections by whatever limits are for (a client, a listener, a filter chain), counted in memory that all workers share, so that a limit holds for all of
 * them together. Each worker writes to a table of its own, and adds before it looks at the sum: two that come at once may both be refused at the limit,
 * but never both be taken beyond it. A key has its place only while something is counted there: clients come and go, and a filter chain that changes is another
 * one. A table has a bound; keys beyond it are taken uncounted, which so many clients would achieve in any case.
 */
export class KeyedCounts {
  readonly #words: Int32Array;
  readonly #secret: Uint8Array;
  readonly #worker: number;

  /** `worker`: the caller's place among the workers. */
  constructor(memory: SharedArrayBuffer, worker: number) {
    this.#words = new Int32Array(memory);
    this.#secret = Uint8Array.from(new Uint8Array(memory, 0, SECRET_WORDS * Int32Array.BYTES_PER_ELEMENT));
    this.#worker = worker;
    let used = Atomics.load(this.#words, SECRET_WORDS);
    while (used <= worker)
      used = Math.max(worker + 1, Atomics.compareExchange(this.#words, SECRET_WORDS, used, worker + 1));
  }

  /**
   * Counts one more connection under a key, unless that would be more than `max`: undefined then. Otherwise what takes it back.
   */
  take(key: string, max: number): (() => void) | undefined {
    const [first, a, b] = this.#place(key);
    const own = this.#claim(tableOf(this.#worker), first, a, b);
    if (own < 0) return () => {};
    Atomics.add(this.#words, own, 1);
    const release = () => void Atomics.sub(this.#words, own, 1);
    if (this.#sum(first, a, b) <= max) return release;
    release();
    return undefined;
  }

  /** A worker is gone, with all of its connections. */
  forget(worker: number): void {
    this.#words.fill(0, tableOf(worker), tableOf(worker) + TABLE_WORDS);
  }

  /** The first entry for a key, and the words that name it there. */
  #place(key: string): readonly [first: number, a: number, b: number] {
    const hash = createHash("sha256").update(this.#secret).update(key).digest();
    return [hash.readUInt32LE(0) % ENTRIES, hash.readInt32LE(4), hash.readInt32LE(8)];
  }

  /** Where this worker counts: the entry that it has already, or else a free one; -1: there is none. Only this worker writes names here. */
  #claim(table: number, first: number, a: number, b: number): number {
    const words = this.#words;
    let free = -1;
    for (let way = 0; way < WAYS; way++) {
      const entry = table + ((first + way) % ENTRIES) * ENTRY_WORDS;
      if (words[entry] === a && words[entry + 1] === b) return entry + 2;
      if (free < 0 && words[entry + 2] === 0) free = entry;
    }
    if (free < 0) return -1;
    Atomics.store(words, free, a);
    Atomics.store(words, free + 1, b);
    return free + 2;
  }

  #sum(first: number, a: number, b: number): number {
    const words = this.#words;
    const used = Atomics.load(words, SECRET_WORDS);
    let sum = 0;
    for (let worker = 0; worker < used; worker++) {
      const table = tableOf(worker);
      for (let way = 0; way < WAYS; way++) {
        const entry = table + ((first + way) % ENTRIES) * ENTRY_WORDS;
        if (Atomics.load(words, entry) !== a || Atomics.load(words, entry + 1) !== b) continue;
        sum += Atomics.load(words, entry + 2);
        break;
      }
    }
    return sum;
  }
}

const tableOf = (worker: number): number => HEADER_WORDS + worker * TABLE_WORDS;
