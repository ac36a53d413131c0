import type { Socket } from "node:net";

/** Who takes what a client sends, as far as its turn has come. */
export interface InputReader {
  /** Whether more may be taken now. */
  readonly wantsInput: boolean;
  /** Takes bytes from `at` on. Returns where it stopped, or -1 if they must wait; what is no longer wanted counts as taken. */
  takeInput(bytes: Buffer, at: number): number;
  /** All that may be taken for now was. */
  onInputTaken(): void;
}

/** What a client may send ahead before its socket is paused. Below that we go on reading, since only a reader notices that a client left. */
const HELD_BYTES_MAX = 65_536;

/** What a client sends: handed to its reader, or held back until its turn comes; and whether its socket is read meanwhile. */
export class Input {
  /** What waits; undefined: nothing does. */
  held: Buffer | undefined = undefined;
  /** Whether the stream wants no more of its body for now. */
  streamPaused = false;

  readonly #socket: Socket;
  readonly #reader: InputReader;
  #paused = false;
  #consuming = false;
  /** Whether what is being read lies in memory that the next read of any connection overwrites. */
  #borrowed = false;

  constructor(socket: Socket, reader: InputReader) {
    this.#socket = socket;
    this.#reader = reader;
  }

  /** Whether the reader is at work, which looks for more by itself when it is done. */
  get consuming(): boolean {
    return this.#consuming;
  }

  /** Takes what was read. `borrowed`: the bytes are valid during the call only. */
  receive(bytes: Buffer, borrowed: boolean): void {
    const { held } = this;
    if (held !== undefined) this.#hold(Buffer.concat([held, bytes]));
    else if (this.#consuming) this.#hold(borrowed ? Buffer.from(bytes) : bytes);
    else this.#consume(bytes, borrowed);
  }

  /** A part of what takeInput() is given, to be kept. */
  own(bytes: Buffer, from: number, to: number): Buffer {
    const part = from === 0 && to === bytes.length ? bytes : bytes.subarray(from, to);
    return this.#borrowed ? Buffer.from(part) : part;
  }

  /** Hands over what waits, if anything does. */
  consumeHeld(): void {
    const held = this.#take();
    if (held !== undefined) this.#consume(held, false);
  }

  /** A loop rather than recursion: many requests may lie in one read, and all be answered at once. */
  #consume(input: Buffer, borrowed: boolean): void {
    const reader = this.#reader;
    this.#consuming = true;
    this.#borrowed = borrowed;
    let bytes: Buffer | undefined = input;
    while (bytes !== undefined) {
      for (let at = 0; at < bytes.length; ) {
        const next = reader.takeInput(bytes, at);
        if (next < 0) {
          this.#hold(this.own(bytes, at, bytes.length));
          break;
        }
        at = next;
      }
      this.#borrowed = false;
      bytes = reader.wantsInput ? this.#take() : undefined;
    }
    this.#consuming = false;
    reader.onInputTaken();
    this.resume();
  }

  /** Keeps input for later, in place of what waited before. */
  #hold(bytes: Buffer): void {
    this.held = bytes;
    if (bytes.length >= HELD_BYTES_MAX) this.#pause();
  }

  #take(): Buffer | undefined {
    const { held } = this;
    this.held = undefined;
    return held;
  }

  /** The stream wants no more of its body until `streamPaused` is taken back. */
  pauseStream(): void {
    this.streamPaused = true;
    this.#pause();
  }

  #pause(): void {
    this.#paused = true;
    this.#socket.pause();
  }

  /** Reads on unless something still holds it up. */
  resume(): void {
    if (!this.#paused || this.streamPaused) return;
    if (this.held !== undefined && this.held.length >= HELD_BYTES_MAX) return;
    this.#paused = false;
    this.#socket.resume();
  }
}
