import { codes, END_STREAM, PADDED, uint31At, WITH_PRIORITY } from "./frames.ts";

/** Frames that one block may come in; a head of 60 KiB needs four. */
const CONTINUATIONS_MAX = 32;
const PRIORITY_BYTES = 5;

/** A head or trailers on their way: the block that HEADERS began, and CONTINUATIONs go on with (RFC 9113, 4.3). */
export class FieldBlock {
  /** The stream whose block is not whole yet; 0: none is. */
  pendingId = 0;
  streamId = 0;
  endStream = false;
  /** Whether the stream is said to depend on itself. */
  isSelfDependent = false;
  /** Where the fragment of the HEADERS frame that was read last is. */
  from = 0;
  to = 0;

  readonly #bytesMax: number;
  #pieces: Buffer[] = [];
  #bytes = 0;

  /** `bytesMax`: of a whole block. */
  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** Finds the fragment in a HEADERS frame. Returns NO_ERROR, or the connection's error. */
  begin(flags: number, id: number, bytes: Buffer, frameFrom: number, frameTo: number): number {
    let from = frameFrom;
    let to = frameTo;
    this.streamId = id;
    this.endStream = (flags & END_STREAM) !== 0;
    this.isSelfDependent = false;
    if ((flags & PADDED) !== 0) {
      if (from === to) return codes.FRAME_SIZE_ERROR;
      to -= bytes[from++] as number;
    }
    if ((flags & WITH_PRIORITY) !== 0) {
      if (frameTo - from < PRIORITY_BYTES) return codes.FRAME_SIZE_ERROR;
      this.isSelfDependent = uint31At(bytes, from) === id;
      from += PRIORITY_BYTES;
    }
    if (from > to) return codes.PROTOCOL_ERROR;
    this.from = from;
    this.to = to;
    return codes.NO_ERROR;
  }

  /** Keeps a fragment that is not the last. Returns NO_ERROR, or the connection's error: what isn't decoded leaves HPACK's table out of step. */
  keep(bytes: Buffer, from: number, to: number): number {
    this.pendingId = this.streamId;
    this.#bytes += to - from;
    if (this.#bytes > this.#bytesMax || this.#pieces.length > CONTINUATIONS_MAX) return codes.ENHANCE_YOUR_CALM;
    this.#pieces.push(Buffer.from(bytes.subarray(from, to)));
    return codes.NO_ERROR;
  }

  /** The whole block, with its last fragment. Undefined: it is too large. */
  end(bytes: Buffer, from: number, to: number): Buffer | undefined {
    if (this.keep(bytes, from, to) !== codes.NO_ERROR) return undefined;
    const whole = Buffer.concat(this.#pieces);
    this.pendingId = 0;
    this.#pieces = [];
    this.#bytes = 0;
    return whole;
  }
}
