import type { ServerHttp2Session } from "node:http2";
import type { Socket } from "node:net";

import { Timer, type TimerOwner, timers } from "../listen/timers.ts";

/** Bytes of a PING frame with ACK (RFC 9113, 6.7). */
const PING_ACK_BYTES = 17;
/** What lies unsent before a PING is granted this many bytes per ms; a client that takes less is as good as gone. */
const BYTES_PER_MS_MIN = 4;

/**
 * Finds clients whose request head never ends. node:http2 says nothing of a head before its last frame; but until then no other frame may
 * come (RFC 9113, 4.3: a field block is "contiguous"), so that such a client can't answer a PING. It is pinged whenever something came that
 * may be the beginning of a head, and only while it has no request under way: a head that hangs holds those up too, until their own times end.
 */
export class HeadWatch implements TimerOwner {
  readonly #session: ServerHttp2Session;
  readonly #socket: Socket;
  readonly #checkMs: number;
  readonly #isBusy: () => boolean;
  readonly #onStuck: () => void;
  readonly #timer = new Timer(this, 0);
  /** Up to here the input is known to be of whole frames. */
  #wholeBytes = 0;
  /** Output that the client is known to have taken. */
  #takenBytes = 0;
  /** What the wait for an answer began with; undefined: none is awaited. */
  #asked: { readonly at: number; readonly written: number } | undefined = undefined;

  /** `timeoutMs`: how long a head may take, within which `onStuck` is called; `isBusy`: whether requests are under way. */
  constructor(
    session: ServerHttp2Session,
    socket: Socket,
    timeoutMs: number,
    isBusy: () => boolean,
    onStuck: () => void,
  ) {
    this.#session = session;
    this.#socket = socket;
    this.#checkMs = Math.max(1, timeoutMs / 2);
    this.#isBusy = isBusy;
    this.#onStuck = onStuck;
    timers.schedule(this.#timer, this.#checkMs);
  }

  stop(): void {
    timers.cancel(this.#timer);
  }

  onTimer(): void {
    if (this.#session.destroyed) return;
    const asked = this.#asked;
    const now = performance.now();
    if (asked === undefined) {
      if (!this.#isBusy() && this.#socket.bytesRead !== this.#wholeBytes) this.#ask(now);
    } else if (this.#isBusy()) {
      this.#asked = { ...asked, at: now };
    } else if (now - asked.at >= this.#checkMs + (asked.written - this.#takenBytes) / BYTES_PER_MS_MIN) {
      return this.#onStuck();
    }
    timers.schedule(this.#timer, this.#checkMs);
  }

  #ask(now: number): void {
    const { bytesRead, bytesWritten } = this.#socket;
    const sent = this.#session.ping((error: Error | null) => {
      if (error !== null) return;
      this.#asked = undefined;
      this.#takenBytes = bytesWritten;
      // More than the answer may be the beginning of the next head.
      if (this.#socket.bytesRead === bytesRead + PING_ACK_BYTES) this.#wholeBytes = this.#socket.bytesRead;
    });
    if (sent) this.#asked = { at: now, written: bytesWritten };
  }
}
