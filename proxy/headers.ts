/**
 * The header fields of one message, in the order received. Names are lower case (RFC 9110, 5.1); values are latin1 strings as they came,
 * without the white space around them. Two parallel arrays rather than objects: a proxied request touches every field, and this is
 * what was cheapest to fill, scan and write.
 */
export class Headers {
  readonly names: string[] = [];
  readonly values: string[] = [];

  get length(): number {
    return this.names.length;
  }

  /** Adds a field after those that are there. `name` must be lower case. */
  add(name: string, value: string): void {
    this.names.push(name);
    this.values.push(value);
  }

  /** The value of a field, or undefined; several fields of the name are joined by "," as RFC 9110, 5.3 says. */
  get(name: string): string | undefined {
    let found: string | undefined;
    const { names, values } = this;
    for (let i = 0; i < names.length; i++) {
      if (names[i] === name) found = found === undefined ? values[i] : `${found},${values[i]}`;
    }
    return found;
  }

  has(name: string): boolean {
    return this.names.includes(name);
  }

  /** Replaces all fields of the name by one. */
  set(name: string, value: string): void {
    const at = this.names.indexOf(name);
    if (at < 0) {
      this.add(name, value);
      return;
    }
    this.values[at] = value;
    this.#remove(name, at + 1);
  }

  /** Removes all fields of the name. */
  remove(name: string): void {
    this.#remove(name, 0);
  }

  /** Removes the field at a place; those after it move up. */
  removeAt(at: number): void {
    this.names.splice(at, 1);
    this.values.splice(at, 1);
  }

  #remove(name: string, from: number): void {
    const { names, values } = this;
    let kept = from;
    for (let i = from; i < names.length; i++) {
      if (names[i] === name) continue;
      if (kept !== i) {
        names[kept] = names[i] as string;
        values[kept] = values[i] as string;
      }
      kept++;
    }
    names.length = kept;
    values.length = kept;
  }
}
