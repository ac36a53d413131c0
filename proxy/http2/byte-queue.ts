import { CHUNK_BYTES, returnChunk, takeChunk } from "../listen/chunks.ts";

/** Memory that short pieces share; longer ones than a quarter of a chunk begin a chunk. */
const SHARED_BYTES = 4_096;
const LONG_BYTES = CHUNK_BYTES / 4;

/** Bytes that wait in the order in which they came. Short pieces share memory: a peer that sends single bytes costs us bytes, not objects. */
export class ByteQueue {
  readonly #blocks: Buffer[] = [];
  /** How much of the first block was taken, and of the last is in use. */
  #from = 0;
  #to = 0;
  #bytes = 0;

  /** Bytes that wait. */
  get bytes(): number {
    return this.#bytes;
  }

  get isEmpty(): boolean {
    return this.#blocks.length === 0;
  }

  /** Adds a copy of bytes[from, to). */
  push(bytes: Buffer, from: number, to: number): void {
    this.#bytes += to - from;
    const last = this.#blocks.at(-1);
    let at = from;
    if (last !== undefined) {
      const copied = bytes.copy(last, this.#to, at, to);
      this.#to += copied;
      at += copied;
    }
    if (at === to) return;
    const length = to - at;
    const block = blockFor(length);
    bytes.copy(block, 0, at, to);
    this.#blocks.push(block);
    this.#to = length;
  }

  /** The block that is first, whose bytes [from, to) come next; undefined: there is nothing. */
  get first(): Buffer | undefined {
    return this.#blocks[0];
  }

  get from(): number {
    return this.#from;
  }

  get to(): number {
    return this.#blocks.length === 1 ? this.#to : (this.#blocks[0]?.length ?? 0);
  }

  /** Takes so many bytes of the first block away. */
  take(bytes: number): void {
    this.#from += bytes;
    this.#bytes -= bytes;
    if (this.#from < this.to) return;
    release(this.#blocks.shift());
    this.#from = 0;
  }

  clear(): void {
    for (const block of this.#blocks) release(block);
    this.#blocks.length = 0;
    this.#from = 0;
    this.#bytes = 0;
  }
}

function blockFor(length: number): Buffer {
  if (length > LONG_BYTES && length <= CHUNK_BYTES) return takeChunk();
  return Buffer.allocUnsafeSlow(Math.max(length, SHARED_BYTES));
}

function release(block: Buffer | undefined): void {
  if (block?.length === CHUNK_BYTES) returnChunk(block);
}
