/**
 * A set of names of which most is shared with other streams: data planes that are alike want, and wait for, the same thousands of names. What is
 * shared is never written; each stream keeps what differs.
 */
export class LayeredSet implements Iterable<string> {
  #base: ReadonlySet<string> | undefined;
  /** Of the base. */
  #removed: Set<string> | undefined;
  /** Besides the base. */
  readonly #own = new Set<string>();

  get size(): number {
    return this.#own.size + (this.#base?.size ?? 0) - (this.#removed?.size ?? 0);
  }

  /** What the set is shared with others as; undefined if it holds anything else, or less. */
  get shared(): ReadonlySet<string> | undefined {
    return this.#own.size === 0 && this.#removed === undefined ? this.#base : undefined;
  }

  get isEmpty(): boolean {
    return this.#own.size === 0 && this.#base === undefined;
  }

  /** The only name, if there is just one and it isn't shared with others. */
  get only(): string | undefined {
    if (this.#own.size !== 1 || this.#base !== undefined) return undefined;
    const [name] = this.#own;
    return name;
  }

  has(name: string): boolean {
    return this.#own.has(name) || (this.#base?.has(name) === true && this.#removed?.has(name) !== true);
  }

  add(name: string): void {
    if (this.#base?.has(name) !== true) this.#own.add(name);
    else if (this.#removed?.delete(name) && this.#removed.size === 0) this.#removed = undefined;
  }

  /** Returns whether it was there. */
  delete(name: string): boolean {
    if (this.#own.delete(name)) return true;
    if (this.#base?.has(name) !== true || this.#removed?.has(name)) return false;
    this.#removed ??= new Set();
    this.#removed.add(name);
    if (this.#removed.size === this.#base.size) this.#base = this.#removed = undefined;
    return true;
  }

  clear(): void {
    this.#own.clear();
    this.#base = this.#removed = undefined;
  }

  /** Holds these names from now on, and no others. @param names must never change; empty sets are not shared */
  share(names: ReadonlySet<string>): void {
    this.clear();
    if (names.size > 0) this.#base = names;
  }

  /** As with a Set, names may be taken out meanwhile. */
  *[Symbol.iterator](): Generator<string, undefined> {
    for (const name of this.#base ?? []) if (this.has(name)) yield name;
    yield* this.#own;
    return undefined;
  }
}
