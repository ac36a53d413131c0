/**
 * Sets of names by key, of which most hold one: that one alone is kept then. A Set takes 170 bytes, and there are some for each of thousands
 * of services.
 */
export class FewNames {
  readonly #byKey = new Map<string, string | Set<string>>();

  /** The names of a key, in the order in which they came; none if there are none. */
  of(key: string): Iterable<string> {
    const names = this.#byKey.get(key);
    if (names === undefined) return [];
    return typeof names === "string" ? [names] : names;
  }

  /** How many names a key has. */
  count(key: string): number {
    const names = this.#byKey.get(key);
    if (names === undefined) return 0;
    return typeof names === "string" ? 1 : names.size;
  }

  add(key: string, name: string): void {
    const names = this.#byKey.get(key);
    if (names === undefined) this.#byKey.set(key, name);
    else if (typeof names !== "string") names.add(name);
    else if (names !== name) this.#byKey.set(key, new Set([names, name]));
  }

  delete(key: string, name: string): void {
    const names = this.#byKey.get(key);
    if (typeof names === "object") {
      names.delete(name);
      if (names.size === 0) this.#byKey.delete(key);
    } else if (names === name) this.#byKey.delete(key);
  }
}
