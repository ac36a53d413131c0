import { randomFillSync } from "node:crypto";

/** Ids that are made in one go. */
const BATCH = 64;
const ID_CHARS = 36;
const RANDOM_BYTES = 16;

const HEX = Buffer.from("0123456789abcdef", "latin1");
const DASH = 0x2d;

/** What stands around an id in its field, as a line of HTTP/1. */
const BEFORE = Buffer.from("x-request-id: ", "latin1");
const AFTER = Buffer.from("\r\n", "latin1");
const LINE_CHARS = BEFORE.length + ID_CHARS + AFTER.length;

/**
 * Random UUIDs (RFC 9562, 5.4: version 4) from the system's cryptographic generator, as node:crypto's randomUUID() makes them, but as parts of
 * one flat string: that one is joined of twenty pieces, and whoever writes it out pays for each of them.
 */
class RequestIds {
  /** The id that next() made. */
  id = "";
  /** Its field as a line of HTTP/1, CRLF included. */
  line = "";

  readonly #random = Buffer.allocUnsafeSlow(BATCH * RANDOM_BYTES);
  readonly #chars = Buffer.allocUnsafeSlow(BATCH * LINE_CHARS);
  #batch = "";
  #next = BATCH;

  /** Makes another id. */
  next(): void {
    if (this.#next === BATCH) this.#refill();
    const from = this.#next++ * LINE_CHARS;
    this.line = this.#batch.slice(from, from + LINE_CHARS);
    this.id = this.#batch.slice(from + BEFORE.length, from + BEFORE.length + ID_CHARS);
  }

  #refill(): void {
    const random = randomFillSync(this.#random);
    const chars = this.#chars;
    let to = 0;
    for (let from = 0; from < random.length; from += RANDOM_BYTES) {
      random[from + 6] = ((random[from + 6] as number) & 0x0f) | 0x40;
      random[from + 8] = ((random[from + 8] as number) & 0x3f) | 0x80;
      to += BEFORE.copy(chars, to);
      for (let i = 0; i < RANDOM_BYTES; i++) {
        if (i === 4 || i === 6 || i === 8 || i === 10) chars[to++] = DASH;
        const byte = random[from + i] as number;
        chars[to++] = HEX[byte >> 4] as number;
        chars[to++] = HEX[byte & 15] as number;
      }
      to += AFTER.copy(chars, to);
    }
    this.#batch = chars.toString("latin1", 0, to);
    this.#next = 0;
  }
}

/** The ids of this worker. */
export const requestIds = new RequestIds();
