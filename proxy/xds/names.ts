/** Names with how often each is needed. It is itself the set of those that are needed now. */
export class NameCounts implements Iterable<string> {
  readonly #counts = new Map<string, number>();
  #released: string[] = [];
  /** Of names that came or went since the last call of {@link takeChanges}: whether they were needed then. */
  readonly #before = new Map<string, boolean>();

  get size(): number {
    return this.#counts.size;
  }

  [Symbol.iterator](): Iterator<string> {
    return this.#counts.keys();
  }

  /** Each of the names is needed once more. */
  add(names: Iterable<string>): void {
    for (const name of names) {
      const count = this.#counts.get(name) ?? 0;
      if (count === 0) this.#note(name, false);
      this.#counts.set(name, count + 1);
    }
  }

  /** Each of the names is needed once less. */
  remove(names: Iterable<string>): void {
    for (const name of names) {
      const count = (this.#counts.get(name) ?? 0) - 1;
      if (count > 0) this.#counts.set(name, count);
      else if (this.#counts.delete(name)) {
        this.#released.push(name);
        this.#note(name, true);
      }
    }
  }

  has(name: string): boolean {
    return this.#counts.has(name);
  }

  /** Names that came to be needed, and that ceased to be, since the last call; what came and went in between is in neither. */
  takeChanges(): NameChanges {
    const added: string[] = [];
    const removed: string[] = [];
    for (const [name, before] of this.#before) {
      const now = this.#counts.has(name);
      if (now && !before) added.push(name);
      if (!now && before) removed.push(name);
    }
    this.#before.clear();
    return { added, removed };
  }

  /** Names that ceased to be needed since the last call, and still are not. */
  takeReleased(): string[] {
    const released = this.#released.filter((name) => !this.#counts.has(name));
    this.#released = [];
    return released;
  }

  #note(name: string, before: boolean): void {
    if (!this.#before.has(name)) this.#before.set(name, before);
  }
}

/** How a set of names has changed. */
export interface NameChanges {
  readonly added: readonly string[];
  readonly removed: readonly string[];
}
