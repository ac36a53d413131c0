/**
 * The header fields of one message, in the order received. Names are lower case (RFC 9110, 5.1); values are latin1 strings as they came,
 * without the white space around them. Parallel arrays rather than objects: a proxied request touches every field, and this is
 * what was cheapest to fill, scan and write.
 */
export class Headers {
  readonly #names: string[] = [];
  readonly #values: string[] = [];
  /** Fields as lines of HTTP/1, CRLF included; "" where nobody has made them. */
  readonly #lines: string[] = [];

  get names(): readonly string[] {
    return this.#names;
  }

  get values(): readonly string[] {
    return this.#values;
  }

  get length(): number {
    return this.#names.length;
  }

  /** Adds a field after those that are there. `name` must be lower case. `line`: the field as a {@link lineOf}, where that is at hand. */
  add(name: string, value: string, line = ""): void {
    this.#names.push(name);
    this.#values.push(value);
    this.#lines.push(line);
  }

  /** The value of a field, or undefined; several fields of the name are joined by "," as RFC 9110, 5.3 says. */
  get(name: string): string | undefined {
    let found: string | undefined;
    const names = this.#names;
    const values = this.#values;
    for (let i = 0; i < names.length; i++) {
      if (names[i] === name) found = found === undefined ? values[i] : `${found},${values[i]}`;
    }
    return found;
  }

  has(name: string): boolean {
    return this.#names.includes(name);
  }

  /** Replaces all fields of the name by one. */
  set(name: string, value: string, line = ""): void {
    const at = this.#names.indexOf(name);
    if (at < 0) {
      this.add(name, value, line);
      return;
    }
    this.setAt(at, value, line);
    this.#remove(name, at + 1);
  }

  /** Replaces the value of the field at a place. */
  setAt(at: number, value: string, line = ""): void {
    this.#values[at] = value;
    this.#lines[at] = line;
  }

  /** Removes all fields of the name. */
  remove(name: string): void {
    this.#remove(name, 0);
  }

  /** Removes the field at a place; those after it move up. */
  removeAt(at: number): void {
    this.#names.splice(at, 1);
    this.#values.splice(at, 1);
    this.#lines.splice(at, 1);
  }

  /** Removes all fields. */
  clear(): void {
    this.#truncate(0);
  }

  /**
   * All fields as lines of HTTP/1. What is in them was checked when it was read, or is ours. Joined by "+", which knows that both sides are
   * strings; a template asks each part for its text.
   */
  toLines(): string {
    const names = this.#names;
    const values = this.#values;
    const lines = this.#lines;
    let text = "";
    for (let i = 0; i < lines.length; i++) {
      const line = lines[i] as string;
      text += line === "" ? (names[i] as string) + ": " + (values[i] as string) + "\r\n" : line;
    }
    return text;
  }

  #remove(name: string, from: number): void {
    const names = this.#names;
    let kept = from;
    for (let i = from; i < names.length; i++) {
      if (names[i] === name) continue;
      if (kept !== i) {
        names[kept] = names[i] as string;
        this.#values[kept] = this.#values[i] as string;
        this.#lines[kept] = this.#lines[i] as string;
      }
      kept++;
    }
    this.#truncate(kept);
  }

  #truncate(length: number): void {
    this.#names.length = length;
    this.#values.length = length;
    this.#lines.length = length;
  }
}

/**
 * A field as a line of HTTP/1, CRLF included, for fields that many messages carry. The text is flat: what is joined of pieces costs each time
 * that it is written.
 */
export const lineOf = (name: string, value: string): string =>
  Buffer.from(`${name}: ${value}\r\n`, "latin1").toString("latin1");
