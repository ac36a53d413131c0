import { CHUNK_BYTES, returnChunk, takeChunk } from "../listen/chunks.ts";

/** A copy of a piece of a body, which lives until it is written. */
export class Copy {
  readonly bytes: Buffer;
  readonly #chunk: Buffer | undefined;

  constructor(bytes: Buffer, chunk: Buffer | undefined) {
    this.bytes = bytes;
    this.#chunk = chunk;
  }

  /** To be called when the bytes were written: their memory serves again. Memory of a write that failed is left to the collector. */
  readonly written = (error?: Error | null): void => {
    if (!error && this.#chunk !== undefined) returnChunk(this.#chunk);
  };
}

/** A copy of bytes[from, to). */
export function copyOf(bytes: Buffer, from: number, to: number): Copy {
  const length = to - from;
  // A small piece would keep all of the memory busy.
  if (length > CHUNK_BYTES || length < CHUNK_BYTES / 4)
    return new Copy(Buffer.from(bytes.subarray(from, to)), undefined);
  const chunk = takeChunk();
  bytes.copy(chunk, 0, from, to);
  return new Copy(chunk.subarray(0, length), chunk);
}
