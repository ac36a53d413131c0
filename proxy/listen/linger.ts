import type { Socket } from "node:net";

/** How long the last bytes of a response may go without moving where there is no delayed_close_timeout. */
const STALL_MS = 1_000;

/** What is written to the connection. */
export interface LingerOutput {
  /** Bytes that were written and the kernel hasn't taken yet. */
  readonly unsentBytes: number;
  /** Writes what still waits for the end of the turn. */
  writeGathered(): void;
}

/**
 * The end of a client's connection. Our half is closed after the last byte, and the client gets time to read it all and to close its half:
 * closing at once, with input unread, would reset the connection and may destroy what is still under way (RFC 9112, 9.6).
 */
export class Linger {
  readonly #socket: Socket;
  readonly #out: LingerOutput;
  #left: number;
  /** When to look again, in ms from the start or the last check. */
  readonly checkMs: number;

  /** `out`: what was written to it. `delayedCloseTimeoutMs`: Envoy's; 0: the connection closes as soon as the last byte is out. */
  constructor(socket: Socket, out: LingerOutput, delayedCloseTimeoutMs: number, immediately: boolean) {
    this.#socket = socket;
    this.#out = out;
    out.writeGathered();
    this.checkMs = delayedCloseTimeoutMs || STALL_MS;
    if (immediately || delayedCloseTimeoutMs === 0) socket.destroySoon();
    else socket.end();
    this.#left = out.unsentBytes;
  }

  /** A client that still takes bytes may go on; one that doesn't is cut off. False: it was. */
  check(): boolean {
    const left = this.#out.unsentBytes;
    if (left === 0 || left === this.#left) {
      this.#socket.destroy();
      return false;
    }
    this.#left = left;
    return true;
  }
}
