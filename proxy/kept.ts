/**
 * Bytes kept as text, a character for each. V8 needs 16 bytes beside a string's own; an ArrayBuffer and the view of it are four hundred in the two
 * heaps of V8 and malloc, more than most resources have themselves, of which there are tens of thousands.
 */
export type Kept = string;

/** Takes a copy of bytes. */
export const keep = (bytes: Uint8Array): Kept =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");

/** The bytes that were kept: a buffer of its own, of which views may be held without holding anything else. */
export function bytesOf(kept: Kept): Uint8Array {
  // Not out of Node's pool, of which each view would hold eight kilobytes.
  const bytes = Buffer.allocUnsafeSlow(kept.length);
  bytes.write(kept, "latin1");
  return bytes;
}
