/** A map from strings that is read in the order of its keys (by UTF-16 code unit, as `<` compares). */
export class SortedMap<Value> {
  readonly #values = new Map<string, Value>();
  // Kept sorted. Inserting shifts an array of pointers, which at 20,000 keys takes microseconds.
  readonly #keys: string[] = [];

  get size(): number {
    return this.#keys.length;
  }

  get(key: string): Value | undefined {
    return this.#values.get(key);
  }

  set(key: string, value: Value): void {
    if (!this.#values.has(key)) this.#keys.splice(this.#firstNotBefore(key), 0, key);
    this.#values.set(key, value);
  }

  delete(key: string): void {
    if (this.#values.delete(key)) this.#keys.splice(this.#firstNotBefore(key), 1);
  }

  keys(): readonly string[] {
    return this.#keys;
  }

  /** The values in order of their keys, from the first key greater than `after`. The map must not change meanwhile. */
  *values(after?: string): Iterable<Value> {
    let at = after === undefined ? 0 : this.#firstNotBefore(after);
    if (after !== undefined && this.#keys[at] === after) at += 1;
    for (; at < this.#keys.length; at++) {
      const value = this.#values.get(this.#keys[at] ?? "");
      if (value !== undefined) yield value;
    }
  }

  #firstNotBefore(key: string): number {
    let low = 0;
    let high = this.#keys.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#keys[middle] ?? "") < key) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
