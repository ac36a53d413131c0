import { codes, DATA, FRAME_BYTES_MAX, FRAME_HEAD_BYTES, PADDED, uint31At } from "./frames.ts";
import { PREFACE } from "./preface.ts";

/** Takes frames. What returns a number returns NO_ERROR, or the error that ends the connection. */
export interface FrameSink {
  /** Whether anything more is to be read. */
  readonly reading: boolean;
  /** A DATA frame begins; `length`: its bytes as flow control counts them, padding included. */
  onDataHead(flags: number, streamId: number, length: number): number;
  /** A piece of it, valid during the call only. */
  onDataPiece(bytes: Buffer, from: number, to: number): void;
  onDataEnd(): number;
  /** Any other frame: its payload, valid during the call only. */
  onFrame(type: number, flags: number, streamId: number, bytes: Buffer, from: number, to: number): number;
}

/**
 * Cuts what a peer sends into frames. Incremental at every byte; what lies whole in the input, and all DATA, is handed on where it is. A server reads the
 * client's preface first.
 */
export class FrameReader {
  readonly #sink: FrameSink;
  /** How much of the preface has come. */
  #prefaceAt: number;
  /** The head of a frame that came in pieces. */
  #head: Buffer | undefined = undefined;
  #headBytes = 0;
  /** The payload of a frame other than DATA that came in pieces. */
  #payload: Buffer | undefined = undefined;
  #payloadBytes = 0;
  #type = 0;
  #flags = 0;
  #streamId = 0;
  #inData = false;
  /** Whether the next byte of a DATA frame is the length of its padding. */
  #padComes = false;
  #dataLeft = 0;
  #padLeft = 0;

  constructor(sink: FrameSink, isServer: boolean) {
    this.#sink = sink;
    this.#prefaceAt = isServer ? 0 : PREFACE.length;
  }

  /** Whether something other than DATA has begun and is not there to its end. */
  get unfinished(): boolean {
    return (
      this.#headBytes > 0 || this.#payload !== undefined || (this.#prefaceAt > 0 && this.#prefaceAt < PREFACE.length)
    );
  }

  /** Reads bytes[from, to). Returns NO_ERROR, or the error that ends the connection. */
  read(bytes: Buffer, from: number, to: number): number {
    let at = from;
    const sink = this.#sink;
    while (at < to && this.#prefaceAt < PREFACE.length) {
      if (bytes[at++] !== PREFACE[this.#prefaceAt++]) return codes.PROTOCOL_ERROR;
    }
    while (at < to && sink.reading) {
      if (this.#inData) {
        at = this.#readData(bytes, at, to);
        if (at < 0) return -at;
        continue;
      }
      if (this.#payload !== undefined) {
        const error = this.#continuePayload(this.#payload, bytes, at, to);
        if (error !== codes.NO_ERROR) return error;
        at = this.#next;
        continue;
      }
      if (this.#headBytes > 0 || to - at < FRAME_HEAD_BYTES) {
        at = this.#gatherHead(bytes, at, to);
        if (this.#headBytes < FRAME_HEAD_BYTES) return codes.NO_ERROR;
        this.#headBytes = 0;
        this.#next = at;
        const error = this.#begin(this.#head as Buffer, 0, bytes, at, to);
        if (error !== codes.NO_ERROR) return error;
      } else {
        const error = this.#begin(bytes, at, bytes, at + FRAME_HEAD_BYTES, to);
        if (error !== codes.NO_ERROR) return error;
      }
      at = this.#next;
    }
    return codes.NO_ERROR;
  }

  /** Where #begin() and #continuePayload() stopped. */
  #next = 0;

  #gatherHead(bytes: Buffer, at: number, to: number): number {
    const head = (this.#head ??= Buffer.alloc(FRAME_HEAD_BYTES));
    const end = Math.min(to, at + FRAME_HEAD_BYTES - this.#headBytes);
    bytes.copy(head, this.#headBytes, at, end);
    this.#headBytes += end - at;
    return end;
  }

  /** A frame whose head is at `headAt` of `head`, and whose payload begins at `at`. */
  #begin(head: Buffer, headAt: number, bytes: Buffer, at: number, to: number): number {
    const length =
      ((head[headAt] as number) << 16) | ((head[headAt + 1] as number) << 8) | (head[headAt + 2] as number);
    const type = head[headAt + 3] as number;
    const flags = head[headAt + 4] as number;
    const streamId = uint31At(head, headAt + 5);
    this.#next = at;
    if (length > FRAME_BYTES_MAX) return codes.FRAME_SIZE_ERROR;
    if (type === DATA) return this.#beginData(flags, streamId, length);
    if (to - at >= length) {
      this.#next = at + length;
      return this.#sink.onFrame(type, flags, streamId, bytes, at, at + length);
    }
    this.#type = type;
    this.#flags = flags;
    this.#streamId = streamId;
    this.#payload = Buffer.allocUnsafe(length);
    this.#payloadBytes = bytes.copy(this.#payload, 0, at, to);
    this.#next = to;
    return codes.NO_ERROR;
  }

  #continuePayload(payload: Buffer, bytes: Buffer, at: number, to: number): number {
    const end = Math.min(to, at + payload.length - this.#payloadBytes);
    this.#payloadBytes += bytes.copy(payload, this.#payloadBytes, at, end);
    this.#next = end;
    if (this.#payloadBytes < payload.length) return codes.NO_ERROR;
    this.#payload = undefined;
    return this.#sink.onFrame(this.#type, this.#flags, this.#streamId, payload, 0, payload.length);
  }

  #beginData(flags: number, streamId: number, length: number): number {
    const padded = (flags & PADDED) !== 0;
    if (padded && length === 0) return codes.FRAME_SIZE_ERROR;
    const error = this.#sink.onDataHead(flags, streamId, length);
    if (error !== codes.NO_ERROR) return error;
    if (length === 0) return this.#sink.onDataEnd();
    this.#inData = true;
    this.#padComes = padded;
    this.#padLeft = 0;
    this.#dataLeft = length;
    return codes.NO_ERROR;
  }

  /** Returns where it stopped, or an error, negated. */
  #readData(bytes: Buffer, from: number, to: number): number {
    let at = from;
    if (this.#padComes) {
      this.#padComes = false;
      this.#padLeft = bytes[at++] as number;
      this.#dataLeft -= 1 + this.#padLeft;
      if (this.#dataLeft < 0) return -codes.PROTOCOL_ERROR;
    }
    if (this.#dataLeft > 0 && at < to) {
      const end = Math.min(to, at + this.#dataLeft);
      this.#dataLeft -= end - at;
      this.#sink.onDataPiece(bytes, at, end);
      at = end;
    }
    if (this.#dataLeft > 0) return at;
    const skipped = Math.min(to - at, this.#padLeft);
    this.#padLeft -= skipped;
    if (this.#padLeft === 0) {
      this.#inData = false;
      const error = this.#sink.onDataEnd();
      if (error !== codes.NO_ERROR) return -error;
    }
    return at + skipped;
  }
}
