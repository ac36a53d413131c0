import type { Socket } from "node:net";

/** What a client may send ahead before its socket is paused. Below that we go on reading, since only a reader notices that a client left. */
const HELD_BYTES_MAX = 65_536;

/** Input of a client that waits for its turn, and whether its socket is read meanwhile. */
export class InputGate {
  /** What waits; undefined: nothing does. */
  held: Buffer | undefined = undefined;
  /** Whether the stream wants no more of its body for now. */
  streamPaused = false;

  readonly #socket: Socket;
  #paused = false;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  /** Keeps input for later, in place of what waited before. */
  hold(bytes: Buffer): void {
    this.held = bytes;
    if (bytes.length >= HELD_BYTES_MAX) this.#pause();
  }

  /** What waits, which does so no longer. */
  take(): Buffer | undefined {
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
