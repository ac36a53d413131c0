const BYTES = 2; // The wire type of strings, bytes and messages.
const VARINT = 0;
const SIZE_FIRST = 16 * 1024;
/** Of the memory that is kept for the next message. */
const SIZE_KEPT_MAX = 1024 * 1024;
/** Longer texts are written by Node, whose call costs as much as so many characters here. */
const SHORT_TEXT_MAX = 24;
/** What a UTF-16 unit becomes at most in UTF-8. */
const UTF8_BYTES_MAX = 3;

/** A field of a message, as descriptors have it. */
export interface Field {
  readonly number: number;
}

/**
 * Writes messages of protobuf from their end to their beginning, into memory that serves for the next one as well: a length is then known when its turn
 * comes, and a message inside another costs nothing. So what stands last in a message is written first, and of a repeated field the last element.
 */
export class MessageWriter {
  #memory: Buffer = Buffer.allocUnsafeSlow(SIZE_FIRST);
  /** Where the first byte is that was written; before it there is room. */
  #at = SIZE_FIRST;

  /** A message, in memory of its own. @param write writes its fields, and nothing else meanwhile */
  encode(write: () => void): Uint8Array<ArrayBuffer> {
    if (this.#memory.length > SIZE_KEPT_MAX) this.#memory = Buffer.allocUnsafeSlow(SIZE_FIRST);
    // Whatever was left by one that failed is gone.
    this.#at = this.#memory.length;
    write();
    return new Uint8Array(this.#memory.subarray(this.#at));
  }

  /** How much is written so far: to be taken before a message inside another, and given to {@link endMessage} behind it. */
  get written(): number {
    return this.#memory.length - this.#at;
  }

  /** All that was written since `before` is a message in a field. */
  endMessage({ number }: Field, before: number): void {
    this.#head(number, this.written - before);
  }

  /** A string; nothing for "", as of proto3's fields that tell nothing else. */
  text(field: Field, text: string): void {
    if (text !== "") this.oneofText(field, text);
  }

  /** A string that is there even if it is "". */
  oneofText({ number }: Field, text: string): void {
    const before = this.written;
    if (text.length > SHORT_TEXT_MAX || !this.#ascii(text)) this.#utf8(text);
    this.#head(number, this.written - before);
  }

  /** A number that isn't negative; nothing for 0. */
  number(field: Field, value: number): void {
    if (value !== 0) this.oneofNumber(field, value);
  }

  /** A number that isn't negative, and is there even if it is 0. */
  oneofNumber({ number }: Field, value: number): void {
    this.#varint(value);
    this.#varint((number << 3) | VARINT);
  }

  /** Bytes, or a message that is encoded already. */
  bytes({ number }: Field, bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#at -= bytes.length;
    this.#memory.set(bytes, this.#at);
    this.#head(number, bytes.length);
  }

  #head(number: number, length: number): void {
    this.#varint(length);
    this.#varint((number << 3) | BYTES);
  }

  /** @returns false: nothing was written, since not all of it is ASCII */
  #ascii(text: string): boolean {
    this.#reserve(text.length);
    const [memory, start] = [this.#memory, this.#at - text.length];
    for (let at = 0; at < text.length; at++) {
      const unit = text.charCodeAt(at);
      if (unit > 0x7f) return false;
      memory[start + at] = unit;
    }
    this.#at = start;
    return true;
  }

  #utf8(text: string): void {
    const length = Buffer.byteLength(text);
    this.#reserve(text.length * UTF8_BYTES_MAX);
    this.#at -= length;
    this.#memory.write(text, this.#at);
  }

  #varint(value: number): void {
    if (value < 0x80) {
      this.#reserve(1);
      this.#memory[--this.#at] = value;
      return;
    }
    let size = 1;
    for (let rest = value; rest > 0x7f; rest = Math.floor(rest / 0x80)) size++;
    this.#reserve(size);
    this.#at -= size;
    let [rest, at] = [value, this.#at];
    for (; rest > 0x7f; rest = Math.floor(rest / 0x80)) this.#memory[at++] = (rest % 0x80) | 0x80;
    this.#memory[at] = rest;
  }

  /** Sees to it that there is room for so many bytes more. */
  #reserve(bytes: number): void {
    if (this.#at >= bytes) return;
    const { written } = this;
    const memory = Buffer.allocUnsafeSlow(Math.max(2 * this.#memory.length, written + bytes));
    this.#memory.copy(memory, memory.length - written, this.#at);
    this.#memory = memory;
    this.#at = memory.length - written;
  }
}
