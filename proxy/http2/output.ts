import type { Socket } from "node:net";

import { CHUNK_BYTES, returnChunk, takeChunk } from "../listen/chunks.ts";
import { DirectWriter } from "../listen/direct-writer.ts";
import { atTurnEnd, type Gathering } from "../listen/turn-end.ts";
import { END_STREAM } from "./frames.ts";

/** As long as so much waits to be taken by the peer, no more DATA is added. One more frame fits into a chunk then. */
const DATA_BYTES_MAX = 49_000;
/** Of everything together, answers to PINGs and heads of responses among it; a peer that leaves so much untaken is given up. */
const UNSENT_BYTES_MAX = 2 ** 21;

const EMPTY = Buffer.alloc(0);
/** A chunk that was handed to the socket's stream. */
class Written {
  readonly #chunk: Buffer;
  readonly #onTaken: () => void;

  constructor(chunk: Buffer, onTaken: () => void) {
    this.#chunk = chunk;
    this.#onTaken = onTaken;
  }

  readonly done = (error?: Error | null): void => {
    if (error) return;
    release(this.#chunk);
    this.#onTaken();
  };
}

/** Has a chunk serve again; what was made for one large frame is left to the collector. */
function release(chunk: Buffer): void {
  if (chunk.length === CHUNK_BYTES) returnChunk(chunk);
}

/** What a connection is about to send: frames gather, and leave in one write at the end of the turn. */
export class Output implements Gathering {
  /** What is being filled, up to `at`. Valid after reserve(). */
  chunk: Buffer = EMPTY;
  at = 0;
  /** Changes whenever what was in `chunk` can no longer be changed. */
  epoch = 0;

  readonly #socket: Socket;
  readonly #direct: DirectWriter;
  readonly #onRoom: () => void;
  /** Whether the peer has not taken all that was written. */
  #blocked = false;
  #isQueued = false;

  readonly #onTaken = (): void => {
    if (this.unsentBytes > 0) return;
    this.#blocked = false;
    this.#onRoom();
  };

  /** `onRoom`: called when the peer has taken what it had left before. */
  constructor(socket: Socket, onRoom: () => void) {
    this.#socket = socket;
    this.#onRoom = onRoom;
    this.#direct = new DirectWriter(socket, this.#onTaken);
  }

  /** Bytes that were written and the peer hasn't taken yet. */
  get unsentBytes(): number {
    return this.#blocked ? this.#socket.writableLength + this.#direct.unsentBytes : 0;
  }

  /** Whether there is room for DATA. */
  get hasRoom(): boolean {
    if (this.at < DATA_BYTES_MAX && !this.#blocked) return true;
    return this.at + this.unsentBytes < DATA_BYTES_MAX;
  }

  /** Whether the peer leaves more untaken than anybody may. */
  get overflows(): boolean {
    return this.#blocked && this.at + this.unsentBytes > UNSENT_BYTES_MAX;
  }

  /** Makes room for so many bytes at `chunk[at]`, and sees to it that they leave. */
  reserve(bytes: number): void {
    if (this.at + bytes > this.chunk.length) {
      if (this.at > 0) this.#write();
      this.chunk = bytes > CHUNK_BYTES ? Buffer.allocUnsafeSlow(bytes) : takeChunk();
    }
    if (this.#isQueued) return;
    this.#isQueued = true;
    atTurnEnd(this);
  }

  /** Adds END_STREAM to the frame whose flags are at `flagsAt`, written in `epoch`. False: it has left already. */
  endFrame(flagsAt: number, epoch: number): boolean {
    if (epoch !== this.epoch || this.at === 0) return false;
    this.chunk[flagsAt] = (this.chunk[flagsAt] as number) | END_STREAM;
    return true;
  }

  writeGathered(): void {
    // What follows is written here as well.
    this.#isQueued = true;
    do {
      this.write();
      if (!this.#blocked) this.#onRoom();
    } while (this.at > 0);
    this.#isQueued = false;
  }

  /** Writes what has gathered while more is about to. */
  write(): void {
    if (this.at > 0) this.#write();
  }

  #write(): void {
    const { chunk } = this;
    const bytes = chunk.subarray(0, this.at);
    this.chunk = EMPTY;
    this.at = 0;
    this.epoch++;
    if (this.#socket.destroyed) return release(chunk);
    if (!this.#direct.writeBytes(bytes)) {
      this.#blocked = true;
      this.#socket.write(bytes, new Written(chunk, this.#onTaken).done);
    } else if (this.#direct.unsentBytes > 0) this.#blocked = true;
    else release(chunk);
  }
}
