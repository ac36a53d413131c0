import type { KnownName } from "./known-names.ts";

/** So many of a name's newest entries are looked at; where their values have not come again lately, so many. */
const LOOKED_AT_MAX = 16;
const LOOKED_AT_IF_POOR = 2;
/** What an entry costs, a use of one earns, and a value that was not indexed earns 1 of: so one in 32 of them is, which finds out whether values come again. */
const ENTRY_PRICE = 32;
const ACCOUNT_MAX = 16 * ENTRY_PRICE;
const ACCOUNT_INITIAL = 4 * ENTRY_PRICE;

/**
 * What an encoder knows of a name: its entries in the dynamic table, and whether its values are worth more of them. Values that never come again would
 * push out those that do; which names have such values can't be known beforehand, so each pays for its entries by their use.
 */
export class NameRecord {
  readonly known: KnownName;
  /** Values in the dynamic table and the numbers of their entries, oldest first. */
  readonly #values: string[] = [];
  readonly #numbers: number[] = [];
  #account: number;

  constructor(known: KnownName) {
    this.known = known;
    this.#account = known.isFickle ? 0 : ACCOUNT_INITIAL;
  }

  /** Whether the dynamic table has no entry of the name. */
  get isEmpty(): boolean {
    return this.#values.length === 0;
  }

  /** The number of the newest entry of the name; -1: there is none. */
  get newest(): number {
    return this.#numbers.at(-1) ?? -1;
  }

  /** The number of the entry with this value, which pays for it; -1: there is none. */
  use(value: string): number {
    const values = this.#values;
    const last = values.length - 1;
    const stop = last - (this.#account < ENTRY_PRICE ? LOOKED_AT_IF_POOR : LOOKED_AT_MAX);
    for (let i = last; i >= 0 && i > stop; i--) {
      if (values[i] === value) {
        this.onUsed();
        return this.#numbers[i] as number;
      }
    }
    return -1;
  }

  /** An entry of the name was referred to. */
  onUsed(): void {
    if (this.#account < ACCOUNT_MAX) this.#account += ENTRY_PRICE;
  }

  /** Whether a value that is not there shall be. */
  affordsEntry(): boolean {
    // A first entry gives the name an index.
    if (this.#account >= ENTRY_PRICE || (this.isEmpty && this.known.staticIndex === 0)) return true;
    this.#account++;
    return false;
  }

  onInserted(value: string, number: number): void {
    this.#account = Math.max(0, this.#account - ENTRY_PRICE);
    this.#values.push(value);
    this.#numbers.push(number);
  }

  /** The oldest entry of the name is gone. */
  onEvicted(): void {
    this.#values.shift();
    this.#numbers.shift();
  }
}
