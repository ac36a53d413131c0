import { HEX, TOKEN, VALUE } from "./chars.ts";
import { type Violation, violations } from "./violation.ts";

/** Takes the pieces of a body. `bytes` is the reader's own input: [from, to) is the piece, valid during the call. */
export interface BodySink {
  onBody(bytes: Buffer, from: number, to: number): void;
}

/** Bytes of all chunk extensions of a message; they are read over (RFC 9112, 7.1.1). */
const EXTENSION_BYTES_MAX = 16_384;
/** Bytes of a message's trailer section; it is checked and dropped (RFC 9112, 7.1.2). */
const TRAILER_BYTES_MAX = 8_192;
/** Hexadecimal digits of a chunk size; 2^52 is more than anything that ends. */
const SIZE_DIGITS_MAX = 13;

const NONE = 0;
const LENGTH = 1;
const UNTIL_CLOSE = 2;
// Chunked; each state names what comes next.
const SIZE = 3;
const EXTENSION = 4;
const SIZE_LF = 5;
const DATA = 6;
const DATA_CR = 7;
const DATA_LF = 8;
const TRAILER_START = 9;
const TRAILER_NAME = 10;
const TRAILER_VALUE = 11;
const TRAILER_LF = 12;
const END_LF = 13;

const CR = 0x0d;
const LF = 0x0a;
const SEMICOLON = 0x3b;
const COLON = 0x3a;

/** Reads bodies, one after the other: by length, chunked, or until the connection closes. Incremental at every byte; copies nothing. */
export class BodyReader {
  /** Whether the body is complete; true before the first one. */
  done = true;
  violation: Violation | undefined = undefined;

  #state = NONE;
  #left = 0;
  #digits = 0;
  #extensionBytes = 0;
  #trailerBytes = 0;

  /** Prepares for a body of so many bytes. */
  startLength(bytes: number): void {
    this.#state = bytes === 0 ? NONE : LENGTH;
    this.#left = bytes;
    this.done = bytes === 0;
  }

  startChunked(): void {
    this.#state = SIZE;
    this.#left = 0;
    this.#digits = 0;
    this.#extensionBytes = 0;
    this.#trailerBytes = 0;
    this.done = false;
  }

  startUntilClose(): void {
    this.#state = UNTIL_CLOSE;
    this.done = false;
  }

  /** Whether the body says by itself where it ends. */
  get isFramed(): boolean {
    return this.#state !== UNTIL_CLOSE;
  }

  /** The peer will send no more. True if that completes the body. */
  close(): boolean {
    if (this.#state === UNTIL_CLOSE) this.done = true;
    return this.done;
  }

  /**
   * Reads bytes[from, to) and hands the body's pieces to the sink. Returns where it stopped: at `to`, after the last byte of the body, or
   * where a violation is.
   */
  read(bytes: Buffer, from: number, to: number, sink: BodySink): number {
    if (this.#state >= SIZE) return this.#readChunked(bytes, from, to, sink);
    if (this.#state === NONE || from === to) return from;
    if (this.#state === UNTIL_CLOSE) {
      sink.onBody(bytes, from, to);
      return to;
    }
    const end = Math.min(to, from + this.#left);
    this.#left -= end - from;
    this.done = this.#left === 0;
    if (this.done) this.#state = NONE;
    sink.onBody(bytes, from, end);
    return end;
  }

  #readChunked(bytes: Buffer, from: number, to: number, sink: BodySink): number {
    let i = from;
    while (i < to) {
      if (this.#state === DATA) {
        const end = Math.min(to, i + this.#left);
        this.#left -= end - i;
        if (this.#left === 0) this.#state = DATA_CR;
        sink.onBody(bytes, i, end);
        i = end;
        continue;
      }
      const violation = this.#step(bytes[i] as number);
      if (violation !== undefined) {
        this.violation = violation;
        return i;
      }
      i++;
      if (this.done) break;
    }
    return i;
  }

  /** One byte of a size line, of the CRLF after a chunk, or of the trailer section. */
  #step(byte: number): Violation | undefined {
    switch (this.#state) {
      case SIZE: {
        const digit = HEX[byte] as number;
        if (digit < 16) {
          if (++this.#digits > SIZE_DIGITS_MAX) return violations.chunk;
          this.#left = this.#left * 16 + digit;
          return undefined;
        }
        if (this.#digits === 0) return violations.chunk;
        if (byte === CR) this.#state = SIZE_LF;
        else if (byte === SEMICOLON) this.#state = EXTENSION;
        else return violations.chunk;
        return undefined;
      }
      case EXTENSION:
        if (byte === CR) this.#state = SIZE_LF;
        else if (VALUE[byte] !== 1) return violations.chunk;
        else if (++this.#extensionBytes > EXTENSION_BYTES_MAX) return violations.chunkExtensions;
        return undefined;
      case SIZE_LF:
        return this.#expect(byte, LF, this.#left === 0 ? TRAILER_START : DATA);
      case DATA_CR:
        return this.#expect(byte, CR, DATA_LF);
      case DATA_LF:
        this.#digits = 0;
        return this.#expect(byte, LF, SIZE);
      case END_LF:
        if (byte !== LF) return violations.lineEnd;
        this.#state = NONE;
        this.done = true;
        return undefined;
      default:
        return this.#stepTrailer(byte);
    }
  }

  #stepTrailer(byte: number): Violation | undefined {
    if (++this.#trailerBytes > TRAILER_BYTES_MAX) return violations.trailers;
    switch (this.#state) {
      case TRAILER_START:
        if (byte === CR) this.#state = END_LF;
        else if (TOKEN[byte]) this.#state = TRAILER_NAME;
        else return violations.fieldName;
        return undefined;
      case TRAILER_NAME:
        if (byte === COLON) this.#state = TRAILER_VALUE;
        else if (!TOKEN[byte]) return violations.fieldName;
        return undefined;
      case TRAILER_VALUE:
        if (byte === CR) this.#state = TRAILER_LF;
        else if (VALUE[byte] !== 1) return violations.fieldValue;
        return undefined;
      case TRAILER_LF:
        return this.#expect(byte, LF, TRAILER_START);
      default:
        throw new Error(`body reader in state ${this.#state}`);
    }
  }

  #expect(byte: number, expected: number, next: number): Violation | undefined {
    if (byte !== expected) return violations.chunk;
    this.#state = next;
    return undefined;
  }
}
