/** What many streams have in common, by name. Neither part is ever written. */
export interface SharedLayer {
  readonly names: ReadonlySet<string>;
  /** Of all of the names, and no others. */
  readonly values: ReadonlyMap<string, string>;
}

/** A map of which most is shared with other streams, as {@link LayeredSet}: layers without a name in common, and what differs from them. */
export class LayeredMap implements Iterable<[string, string]> {
  #layers: readonly SharedLayer[] = [];
  /** Of the layers. */
  #removed: Set<string> | undefined;
  /** Besides the layers, and in place of what they say. */
  readonly #own = new Map<string, string>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** The layer that came last, if there is nothing but layers. */
  get top(): SharedLayer | undefined {
    return this.#own.size === 0 && this.#removed === undefined ? this.#layers.at(-1) : undefined;
  }

  has(name: string): boolean {
    return this.get(name) !== undefined;
  }

  get(name: string): string | undefined {
    const own = this.#own.get(name);
    if (own !== undefined || this.#layers.length === 0 || this.#removed?.has(name)) return own;
    return this.#shared(name);
  }

  set(name: string, value: string): void {
    if (this.get(name) === undefined) this.#size++;
    this.#removed?.delete(name);
    if (this.#removed?.size === 0) this.#removed = undefined;
    this.#own.set(name, value);
  }

  /** Returns whether it was there. */
  delete(name: string): boolean {
    if (this.get(name) === undefined) return false;
    this.#own.delete(name);
    if (--this.#size === 0) this.clear();
    else if (this.#shared(name) !== undefined) (this.#removed ??= new Set()).add(name);
    return true;
  }

  clear(): void {
    this.#layers = [];
    this.#removed = undefined;
    this.#own.clear();
    this.#size = 0;
  }

  /** Adds a layer none of whose names is there. */
  share(layer: SharedLayer): void {
    if (layer.names.size === 0) return;
    if (this.#removed !== undefined) {
      // Some of the names may be in a layer already, as removed.
      for (const [name, value] of layer.values) this.set(name, value);
      return;
    }
    this.#layers = [...this.#layers, layer];
    this.#size += layer.names.size;
  }

  /** Takes out these names, if they are a layer of which nothing differs. @returns whether they were */
  unshare(names: ReadonlySet<string>): boolean {
    if (this.#own.size > 0 || this.#removed !== undefined) return false;
    const layer = this.#layers.find((each) => each.names === names);
    if (layer === undefined) return false;
    this.#layers = this.#layers.filter((each) => each !== layer);
    this.#size -= names.size;
    return true;
  }

  /** As with a Map, names may be taken out or set to another value meanwhile. */
  *keys(): Generator<string, undefined> {
    for (const [name] of this) yield name;
    return undefined;
  }

  *[Symbol.iterator](): Generator<[string, string], undefined> {
    for (const { values } of this.#layers) {
      for (const name of values.keys()) {
        const value = this.get(name);
        if (value !== undefined) yield [name, value];
      }
    }
    for (const entry of this.#own) if (this.#shared(entry[0]) === undefined) yield entry;
    return undefined;
  }

  #shared(name: string): string | undefined {
    if (this.#layers.length === 0) return undefined;
    for (const { values } of this.#layers) {
      const value = values.get(name);
      if (value !== undefined) return value;
    }
    return undefined;
  }
}
