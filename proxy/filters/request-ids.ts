import { randomFillSync } from "node:crypto";

/** Ids that are made in one go. */
const BATCH = 64;
const ID_CHARS = 36;
const RANDOM_BYTES = 16;

const HEX = Buffer.from("0123456789abcdef", "latin1");

/** What stands before an id in its field, as a line of HTTP/1. */
const BEFORE = "x-request-id: ";
const TEMPLATE = `${BEFORE}00000000-0000-0000-0000-000000000000\r\n`;
const LINE_CHARS = TEMPLATE.length;

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
  /** All but the digits stays as it is. */
  readonly #chars = Buffer.from(TEMPLATE.repeat(BATCH), "latin1");
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
    let to = BEFORE.length;
    for (let from = 0; from < random.length; from += RANDOM_BYTES) {
      random[from + 6] = ((random[from + 6] as number) & 0x0f) | 0x40;
      random[from + 8] = ((random[from + 8] as number) & 0x3f) | 0x80;
      for (let i = 0; i < RANDOM_BYTES; i++) {
        // A dash.
        if (i === 4 || i === 6 || i === 8 || i === 10) to++;
        const byte = random[from + i] as number;
        chars[to++] = HEX[byte >> 4] as number;
        chars[to++] = HEX[byte & 15] as number;
      }
      to += LINE_CHARS - ID_CHARS;
    }
    this.#batch = chars.toString("latin1");
    this.#next = 0;
  }
}

/** The ids of this worker. */
export const requestIds = new RequestIds();
