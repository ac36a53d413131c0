/** As much as one read gives. */
export const CHUNK_BYTES = 65_536;
/** Chunks that are kept: 4 MB a worker. */
const KEPT_MAX = 64;

const kept: Buffer[] = [];

/**
 * CHUNK_BYTES of memory, with anything in it. Memory that was just used is in the caches, and costs neither page faults nor collections; allocating 64 KiB for
 * each piece of a large body did.
 */
export const takeChunk = (): Buffer => kept.pop() ?? Buffer.allocUnsafeSlow(CHUNK_BYTES);

/** Has the chunk serve again. Nobody may look at it any more, the kernel included. */
export function returnChunk(chunk: Buffer): void {
  if (kept.length < KEPT_MAX) kept.push(chunk);
}
