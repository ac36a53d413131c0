/** Names with how often each is needed. */
export class NameCounts {
  readonly #counts = new Map<string, number>();
  #released: string[] = [];
  #names: ReadonlySet<string> | undefined;

  /** Each of the names is needed once more. */
  add(names: Iterable<string>): void {
    for (const name of names) {
      const count = this.#counts.get(name) ?? 0;
      if (count === 0) this.#names = undefined;
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
        this.#names = undefined;
      }
    }
  }

  has(name: string): boolean {
    return this.#counts.has(name);
  }

  /** All names that are needed now: the same object until they change. */
  names(): ReadonlySet<string> {
    this.#names ??= new Set(this.#counts.keys());
    return this.#names;
  }

  /** Names that ceased to be needed since the last call, and still are not. */
  takeReleased(): string[] {
    const released = this.#released.filter((name) => !this.#counts.has(name));
    this.#released = [];
    return released;
  }
}
