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
    const { length } = name;
    for (let i = 0; i < names.length; i++) {
      const each = names[i] as string;
      // Comparing lengths spares most comparisons of characters, each of which is a call.
      if (each.length === length && each === name) found = found === undefined ? values[i] : `${found},${values[i]}`;
    }
    return found;
  }

  has(name: string): boolean {
    return this.#find(name) >= 0;
  }

  /** Replaces all fields of the name by one. */
  set(name: string, value: string, line = ""): void {
    const at = this.#find(name);
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

  #find(name: string): number {
    const names = this.#names;
    const { length } = name;
    for (let i = 0; i < names.length; i++) {
      const each = names[i] as string;
      if (each.length === length && each === name) return i;
    }
    return -1;
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

/** Latin1 text as one piece: what is joined of several costs each time that it is written. For texts that are written often. */
export const flat = (text: string): string => Buffer.from(text, "latin1").toString("latin1");

/** A field as a line of HTTP/1, CRLF included and in one piece, for fields that many messages carry. */
export const lineOf = (name: string, value: string): string => flat(`${name}: ${value}\r\n`);

/** A field that has one value for a while: its line is made when the value changes. */
export class SteadyField {
  readonly #name: string;
  #value = "";
  #line = "";

  constructor(name: string) {
    this.#name = name;
  }

  line(value: string): string {
    if (value !== this.#value) {
      this.#value = value;
      this.#line = lineOf(this.#name, value);
    }
    return this.#line;
  }
}

/** A field whose value is a whole number of which there are few: a short time, or one that is configured. */
export class NumberField {
  readonly #name: string;
  readonly #made = new Map<number, { readonly value: string; readonly line: string }>();

  constructor(name: string) {
    this.#name = name;
  }

  /** Replaces all fields of the name by one of this value. */
  set(headers: Headers, value: number): void {
    let made = this.#made.get(value);
    if (made === undefined) {
      const text = String(value);
      if (this.#made.size >= NUMBERS_MAX) return headers.set(this.#name, text);
      made = { value: text, line: lineOf(this.#name, text) };
      this.#made.set(value, made);
    }
    headers.set(this.#name, made.value, made.line);
  }
}

/** So many lines are kept. */
const NUMBERS_MAX = 1_000;
