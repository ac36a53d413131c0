import type { RuntimeUpdate } from "./runtime.ts";
import type { ResourceUpdate } from "./xds/graph.ts";

/** The first piece of a batch has room for so many bytes, each further one for twice as many, up to the maximum. */
const PIECE_BYTES_MIN = 4096;
const PIECE_BYTES_MAX = 1024 * 1024;

/**
 * Updates on their way to the workers: their bytes stand one behind the other in a few pieces of memory that all workers read, so that a first sync of
 * tens of thousands of resources is neither copied for each worker nor as many buffers.
 */
export interface PackedUpdates {
  readonly names: readonly string[];
  /** Each type once, and for each update which of them it is of. */
  readonly typeUrls: readonly string[];
  readonly types: Uint8Array;
  /** Bytes of each update; -1: the resource is gone. */
  readonly sizes: Int32Array;
  /** A resource is in one piece: in the next one where the present one has no room for it. */
  readonly pieces: readonly SharedArrayBuffer[];
}

/** Makes one message of updates. */
export function packUpdates(updates: readonly ResourceUpdate[]): PackedUpdates {
  const typeUrls: string[] = [];
  const types = new Uint8Array(updates.length);
  const sizes = new Int32Array(updates.length);
  const pieces: SharedArrayBuffer[] = [];
  let piece: Uint8Array = new Uint8Array(0);
  let used = 0;
  updates.forEach(({ typeUrl, resource }, at) => {
    // Looked at once: most resources make their bytes anew each time.
    const bytes = resource?.bytes ?? null;
    if (!typeUrls.includes(typeUrl)) typeUrls.push(typeUrl);
    types[at] = typeUrls.indexOf(typeUrl);
    sizes[at] = bytes === null ? -1 : bytes.length;
    if (bytes === null) return;
    if (used + bytes.length > piece.length) {
      const roomy = Math.min(PIECE_BYTES_MAX, PIECE_BYTES_MIN * 2 ** pieces.length);
      const memory = new SharedArrayBuffer(Math.max(bytes.length, roomy));
      pieces.push(memory);
      piece = new Uint8Array(memory);
      used = 0;
    }
    piece.set(bytes, used);
    used += bytes.length;
  });
  return { names: updates.map(({ name }) => name), typeUrls, types, sizes, pieces };
}

/** The updates of a message, in order. Their bytes are views of its pieces: whoever keeps any takes a copy. */
export function unpackUpdates({ names, typeUrls, types, sizes, pieces }: PackedUpdates): RuntimeUpdate[] {
  let next = 0;
  let piece: Uint8Array = new Uint8Array(0);
  let used = 0;
  return names.map((name, at) => {
    const typeUrl = typeUrls[types[at] ?? 0] ?? "";
    const size = sizes[at] ?? -1;
    if (size < 0) return { typeUrl, name, bytes: null };
    if (used + size > piece.length) {
      piece = new Uint8Array(pieces[next++] as SharedArrayBuffer);
      used = 0;
    }
    used += size;
    return { typeUrl, name, bytes: piece.subarray(used - size, used) };
  });
}
