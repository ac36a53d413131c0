import type { Socket } from "node:net";

import { isPreface } from "../http2/preface.ts";
import { holdClock, releaseClock } from "../listen/clock.ts";
import { readBuffer, readInto } from "../listen/read-buffer.ts";

/** Takes what a client's socket gives. */
export interface BytesTaker {
  /** `borrowed`: the bytes are valid during the call only. */
  onBytes(bytes: Buffer, borrowed: boolean): void;
  /** The first bytes have come, and are too few to tell whether they begin HTTP/2. */
  onHeadBegun(): void;
  /** The client speaks HTTP/2: from here on the socket, in which all bytes are again, is somebody else's. */
  onPreface(): void;
}

/** Reads a client's socket: the first bytes by events, since they may be for another codec, and those after them in the cheapest way there is. */
export class SocketReader {
  readonly #socket: Socket;
  readonly #taker: BytesTaker;
  /** Whether the client may yet turn out to speak HTTP/2. */
  #sniffs: boolean;
  #held: Buffer | undefined = undefined;

  /** `sniffs`: whether the client may begin with HTTP/2's preface. */
  constructor(socket: Socket, taker: BytesTaker, sniffs: boolean) {
    this.#socket = socket;
    this.#taker = taker;
    this.#sniffs = sniffs;
    socket.on("data", (bytes: Buffer) => this.#onEvent(bytes));
  }

  #onEvent(input: Buffer): void {
    const bytes = this.#sniffs ? this.#sniff(input) : input;
    if (bytes === undefined) return;
    this.#pass(bytes, false);
    readInto(this.#socket, (length) => this.#pass(readBuffer.subarray(0, length), true));
  }

  /** All that one read brings about happens at one time. */
  #pass(bytes: Buffer, borrowed: boolean): void {
    const before = holdClock();
    try {
      this.#taker.onBytes(bytes, borrowed);
    } finally {
      releaseClock(before);
    }
  }

  /** Undefined: the client speaks HTTP/2, or may yet (RFC 9113, 3.4); otherwise what is to be read. */
  #sniff(input: Buffer): Buffer | undefined {
    const bytes = this.#held === undefined ? input : Buffer.concat([this.#held, input]);
    const verdict = isPreface(bytes);
    this.#held = verdict === "part" ? bytes : undefined;
    if (verdict === "part") {
      this.#taker.onHeadBegun();
      return undefined;
    }
    this.#sniffs = false;
    if (verdict === "no") return bytes;
    this.#socket.removeAllListeners("data").pause();
    this.#socket.unshift(bytes);
    this.#taker.onPreface();
    return undefined;
  }
}
