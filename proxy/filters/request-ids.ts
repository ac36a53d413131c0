import { randomFillSync } from "node:crypto";

/** Ids that are made in one go. */
const BATCH = 64;
const ID_CHARS = 36;
const RANDOM_BYTES = 16;

const HEX = Buffer.from("0123456789abcdef", "latin1");
const DASH = 0x2d;

const random = Buffer.allocUnsafeSlow(BATCH * RANDOM_BYTES);
const chars = Buffer.allocUnsafeSlow(BATCH * ID_CHARS);
let batch = "";
let next = BATCH;

/**
 * A random UUID (RFC 9562, 5.4: version 4) from the system's cryptographic generator, as node:crypto's randomUUID() makes them, but as a part of
 * one flat string: that one is joined of twenty pieces, and whoever writes it out pays for each of them.
 */
export function newRequestId(): string {
  if (next === BATCH) refill();
  const from = next++ * ID_CHARS;
  return batch.slice(from, from + ID_CHARS);
}

function refill(): void {
  randomFillSync(random);
  let to = 0;
  for (let from = 0; from < random.length; from += RANDOM_BYTES) {
    random[from + 6] = ((random[from + 6] as number) & 0x0f) | 0x40;
    random[from + 8] = ((random[from + 8] as number) & 0x3f) | 0x80;
    for (let i = 0; i < RANDOM_BYTES; i++) {
      if (i === 4 || i === 6 || i === 8 || i === 10) chars[to++] = DASH;
      const byte = random[from + i] as number;
      chars[to++] = HEX[byte >> 4] as number;
      chars[to++] = HEX[byte & 15] as number;
    }
  }
  batch = chars.toString("latin1", 0, to);
  next = 0;
}
