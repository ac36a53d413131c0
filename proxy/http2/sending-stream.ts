import type { Http2Stats } from "../listen/context.ts";
import { ByteQueue } from "./byte-queue.ts";
import { DATA, END_STREAM, FRAME_BYTES_MAX, FRAME_HEAD_BYTES, writeFrameHead } from "./frames.ts";
import type { Output } from "./output.ts";

/** What streams share to send by: one connection's windows and output. */
export interface Sender {
  readonly output: Output;
  readonly stats: Http2Stats;
  /** What the peer takes on all streams together, in bytes. */
  sendWindow: number;
  /** Writes a head or trailers; returns where the flags of its first frame are. */
  writeFields(id: number, fields: readonly string[], end: boolean): number;
  /** Whether streams wait for their turns. */
  readonly isCongested: boolean;
  /** A frame of DATA was written. */
  onDataSent(): void;
  /** The stream has something to send; its turn comes when the windows and the output allow. */
  queue(stream: SendingStream): void;
  /** The stream is over; its turn won't come, however long the peer leaves the windows closed. */
  unqueue(stream: SendingStream): void;
}

/** The half of a stream that we send: what can't leave at once waits here, and says so. */
export abstract class SendingStream {
  readonly id: number;
  /** What the peer takes, in bytes; below 0 after a change of its settings (RFC 9113, 6.9.2). */
  sendWindow: number;
  /** Whether the stream waits for its turn. */
  isQueued = false;
  /** Whether it is over, on both sides. */
  closed = false;

  readonly #sender: Sender;
  /** What waits; undefined: nothing ever did, as on nearly every stream. */
  #queue: ByteQueue | undefined = undefined;
  #trailers: readonly string[] | undefined = undefined;
  #ending = false;
  /** Whether END_STREAM was written. */
  #ended = false;
  #wantsRoom = false;
  /** The flags of the frame that was written last, while it can be changed. */
  #flagsAt = 0;
  #epoch = -1;

  constructor(sender: Sender, id: number, sendWindow: number) {
    this.#sender = sender;
    this.id = id;
    this.sendWindow = sendWindow;
  }

  /** Whether our half is complete, as far as frames of it are concerned. */
  get sendEnded(): boolean {
    return this.#ended;
  }

  /** Bytes of the body that wait for the peer's windows, or for their turn. */
  get unsentBytes(): number {
    return this.#queue?.bytes ?? 0;
  }

  /** Sends a head, names and values in turn: a request's, a response's, or a 1xx before it. `end`: that is all. */
  sendHeaders(fields: readonly string[], end: boolean): void {
    if (this.closed || this.#ending) return;
    this.#ending = end;
    this.#writeFields(fields, end);
    if (end) this.#finish();
  }

  /** Sends a piece of the body, which is copied. False: some of it waits, and onWritable() comes when all has left. */
  sendData(bytes: Buffer, from: number, to: number): boolean {
    if (this.closed || this.#ending) return true;
    // Whoever waits comes first.
    const at = this.#waits || this.#sender.isCongested ? from : this.#writeFrames(bytes, from, to);
    if (at === to) return true;
    (this.#queue ??= new ByteQueue()).push(bytes, at, to);
    this.#sender.stats.pending_send_bytes.inc(to - at);
    this.#wantsRoom = true;
    this.#sender.queue(this);
    return false;
  }

  /** All is sent. `trailers`: names and values in turn. */
  sendEnd(trailers?: readonly string[]): void {
    if (this.closed || this.#ending) return;
    this.#ending = true;
    this.#trailers = trailers;
    if (!this.#waits) this.#writeEnd();
  }

  /** Whether something waits that could be sent now, by this stream's window. */
  get canSend(): boolean {
    return this.#waits && this.sendWindow > 0 && !this.closed;
  }

  /** Whether somebody waits for all to have left, and it has. */
  get hasRoom(): boolean {
    if (!this.#wantsRoom || this.#waits || this.closed) return false;
    this.#wantsRoom = false;
    return true;
  }

  /** Writes one frame of what waits, if the windows allow. */
  writeNext(): void {
    const queue = this.#queue;
    const first = queue?.first;
    if (queue === undefined || first === undefined || this.closed) return;
    const written = this.#writeFrame(first, queue.from, queue.to);
    queue.take(written);
    this.#sender.stats.pending_send_bytes.dec(written);
    if (queue.isEmpty && this.#ending) this.#writeEnd();
  }

  /** Our half is complete. */
  protected abstract onSendEnded(): void;

  /** What waits will not be sent. */
  protected dropQueue(): void {
    const queue = this.#queue;
    if (queue === undefined) return;
    this.#sender.stats.pending_send_bytes.dec(queue.bytes);
    queue.clear();
    this.#sender.unqueue(this);
  }

  get #waits(): boolean {
    return this.#queue !== undefined && !this.#queue.isEmpty;
  }

  #writeFields(fields: readonly string[], end: boolean): void {
    this.#flagsAt = this.#sender.writeFields(this.id, fields, end);
    this.#epoch = this.#sender.output.epoch;
  }

  /** Writes as much as the windows and the output allow; returns where it stopped. */
  #writeFrames(bytes: Buffer, from: number, to: number): number {
    const { output } = this.#sender;
    let at = from;
    while (at < to) {
      if (!output.hasRoom) {
        output.write();
        if (!output.hasRoom) break;
      }
      const written = this.#writeFrame(bytes, at, to);
      if (written === 0) break;
      at += written;
    }
    return at;
  }

  #writeFrame(bytes: Buffer, from: number, to: number): number {
    const sender = this.#sender;
    const length = Math.min(to - from, FRAME_BYTES_MAX, this.sendWindow, sender.sendWindow);
    if (length <= 0) return 0;
    this.#writeData(bytes, from, from + length, 0);
    this.sendWindow -= length;
    sender.sendWindow -= length;
    sender.onDataSent();
    return length;
  }

  #writeData(bytes: Buffer, from: number, to: number, flags: number): void {
    const { output } = this.#sender;
    output.reserve(FRAME_HEAD_BYTES + to - from);
    this.#flagsAt = output.at + FLAGS_AT;
    const at = writeFrameHead(output.chunk, output.at, DATA, flags, this.id, to - from);
    output.at = at + bytes.copy(output.chunk, at, from, to);
    this.#epoch = output.epoch;
  }

  #writeEnd(): void {
    if (this.#trailers !== undefined) this.#writeFields(this.#trailers, true);
    else if (!this.#sender.output.endFrame(this.#flagsAt, this.#epoch)) this.#writeData(NO_BYTES, 0, 0, END_STREAM);
    this.#finish();
  }

  #finish(): void {
    this.#ended = true;
    this.onSendEnded();
  }
}

const NO_BYTES = Buffer.alloc(0);
/** Where in a frame's head its flags are. */
export const FLAGS_AT = 4;
