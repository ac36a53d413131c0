/** As much as one read of an upstream connection gives. */
const COPY_BYTES = 65_536;
/** Copies that are kept for the next pieces: 4 MB a worker. */
const KEPT_MAX = 64;

const kept: Buffer[] = [];

/** A copy of a piece of a body, which lives until it is written. */
export class Copy {
  readonly bytes: Buffer;
  readonly #whole: Buffer | undefined;

  constructor(bytes: Buffer, whole: Buffer | undefined) {
    this.bytes = bytes;
    this.#whole = whole;
  }

  /** To be called when the bytes were written: their memory serves again. Memory of a write that failed is left to the collector. */
  readonly written = (error?: Error | null): void => {
    if (!error && this.#whole !== undefined && kept.length < KEPT_MAX) kept.push(this.#whole);
  };
}

/**
 * Copies bytes[from, to). Memory that was just used is in the caches, and costs neither page faults nor collections; allocating 64 KiB for each
 * piece of a large body did.
 */
export function copyOf(bytes: Buffer, from: number, to: number): Copy {
  const length = to - from;
  // A small piece would keep all of the memory busy.
  if (length > COPY_BYTES || length < COPY_BYTES / 4) return new Copy(Buffer.from(bytes.subarray(from, to)), undefined);
  const whole = kept.pop() ?? Buffer.allocUnsafeSlow(COPY_BYTES);
  bytes.copy(whole, 0, from, to);
  return new Copy(whole.subarray(0, length), whole);
}
