/**
 * Reads what an encoded message has in common with others. Of ten thousand clusters, and of the routes of ten thousand services, most differ in nothing
 * but names, addresses and numbers of which any would do. https://protobuf.dev/programming-guides/encoding/
 */

/** A field whose value takes no part in the judgement of a message, as long as it is of this form. */
export type Part =
  /** Text of at least one printable ASCII character, which `check` takes. `as`: told to whoever reads the shape. */
  | {
      readonly kind: "text";
      readonly as?: TextUse;
      readonly check?: (text: string) => boolean;
      readonly repeated?: true;
    }
  /** An unsigned number within [min, max]. */
  | { readonly kind: "number"; readonly min: number; readonly max: number }
  /** A message with such fields in it. */
  | { readonly kind: "message"; readonly inside: Parts; readonly repeated?: true }
  /** One of many messages, each of which is judged without a look at the others. */
  | { readonly kind: "item"; readonly inside: Parts }
  /** A message that has this field is judged as a whole, always. */
  | { readonly kind: "never" };

/** What a text is to whoever reads the shape. */
export type TextUse = "name" | "cluster" | "endpoints" | "domain";

/** Fields by their numbers, 31 at most (but for `never`). What is not here takes part in the judgement with all of its bytes. */
export type Parts = readonly (Part | undefined)[];

/** An encoded message without what any value would do for. */
export interface Shape {
  /** What is left of it. Two messages with the same one, and with items that have been found good, are both good or both not. */
  readonly rest: string;
  /** What is left of each item. */
  readonly items: readonly string[];
  /** The texts that were left out, by their use. */
  readonly texts: Readonly<Record<TextUse, readonly string[]>>;
}

/** Of an ordinary resource a few hundred characters are left. What has more is not worth remembering. */
const CHARACTERS_MAX = 4096;

/** No character of a byte, so that what is inside a message can't be taken for what stands behind it. */
const BEGIN = "\u0100";
const END = "\u0101";

const none: readonly string[] = [];

/** The shape of an encoded message; undefined: it has a field that is not of its form, or is no such message at all, and must be looked at as a whole. */
export function shapeOf(parts: Parts, bytes: Uint8Array): Shape | undefined {
  const reader = new ShapeReader(bytes);
  const rest = reader.read(parts, 0, bytes.length);
  if (rest === undefined || rest.length > CHARACTERS_MAX) return undefined;
  const { name = none, cluster = none, endpoints = none, domain = none } = reader.texts;
  return { rest, items: reader.items, texts: { name, cluster, endpoints, domain } };
}

class ShapeReader {
  readonly items: string[] = [];
  readonly texts: Partial<Record<TextUse, string[]>> = {};
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** What is left of a message from here to `end`. */
  read(parts: Parts, start: number, end: number): string | undefined {
    let left = "";
    /** From where on nothing has been left out. */
    let whole = start;
    let seen = 0;
    this.#at = start;
    while (this.#at < end) {
      const fieldStart = this.#at;
      const tag = this.#varint();
      const field = tag >>> 3;
      const part = field < parts.length ? parts[field] : undefined;
      if (part === undefined) {
        if (!this.#skip(tag & 7) || this.#at > end) return undefined;
        continue;
      }
      if (part.kind === "never") return undefined;
      const afterTag = this.#at;
      const isOnce = part.kind !== "item" && !("repeated" in part);
      // Of what is there twice the last one counts, or both together.
      if (isOnce && (seen & (1 << field)) !== 0) return undefined;
      if (isOnce) seen |= 1 << field;
      const read = this.#part(part, tag & 7, end);
      if (read === undefined) return undefined;
      // How many there are of what is there any number of times takes no part either.
      const isCounted = isOnce || part.kind === "message";
      left += this.#bytes.toString("latin1", whole, isCounted ? afterTag : fieldStart) + read;
      whole = this.#at;
    }
    return this.#at === end ? left + this.#bytes.toString("latin1", whole, end) : undefined;
  }

  /** What is left of a field behind its tag; undefined: it is not of the form that it should have. */
  #part(part: Exclude<Part, { kind: "never" }>, wireType: number, end: number): string | undefined {
    if (part.kind === "number") {
      if (wireType !== 0) return undefined;
      const value = this.#varint();
      return this.#at <= end && value >= part.min && value <= part.max ? "" : undefined;
    }
    if (wireType !== 2) return undefined;
    const length = this.#varint();
    const from = this.#at;
    const to = from + length;
    if (length < 0 || to > end) return undefined;
    if (part.kind === "text") return this.#text(part, from, to) ? "" : undefined;
    const left = this.read(part.inside, from, to);
    if (left === undefined) return undefined;
    if (part.kind === "message") return BEGIN + left + END;
    if (left.length > CHARACTERS_MAX) return undefined;
    this.items.push(left);
    return "";
  }

  #text({ as, check }: Extract<Part, { kind: "text" }>, from: number, to: number): boolean {
    if (from === to) return false;
    for (let at = from; at < to; at++) {
      const byte = this.#bytes[at] as number;
      if (byte < 0x20 || byte > 0x7e) return false;
    }
    this.#at = to;
    if (as === undefined && check === undefined) return true;
    const text = this.#bytes.toString("latin1", from, to);
    if (as !== undefined) (this.texts[as] ??= []).push(text);
    return check === undefined || check(text);
  }

  /** Goes past a value; false: there is none of this type. */
  #skip(wireType: number): boolean {
    if (wireType === 0) return this.#varint() >= 0;
    if (wireType === 1) this.#at += 8;
    else if (wireType === 5) this.#at += 4;
    else if (wireType === 2) {
      const length = this.#varint();
      if (length < 0) return false;
      this.#at += length;
    } else return false;
    return true;
  }

  /** A number of at most 32 bits; -1: it is larger, or ends in the middle. */
  #varint(): number {
    let value = 0;
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = this.#bytes[this.#at++];
      if (byte === undefined) return -1;
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    const last = this.#bytes[this.#at++];
    return last === undefined || last > 0x0f ? -1 : value + last * 2 ** 28;
  }
}
