import { now } from "../listen/clock.ts";

/** Frames that a peer may send for nothing, at once; and per second from then on. */
const FRAMES_AT_ONCE = 1_000;
const FRAMES_PER_SECOND = 100;
/** What it can save up by being of use: whoever was sent much may answer with many WINDOW_UPDATEs. */
const FRAMES_MAX = 10_000;
/** What a frame of DATA that we send allows: WINDOW_UPDATEs for a part of it, for the stream and for the connection (Envoy allows ten each). */
const PER_DATA_SENT = 20;
/** What a stream allows: a PING to measure, and the end of it. */
const PER_STREAM = 4;

/**
 * Bounds what costs work and brings nothing: PING, SETTINGS, WINDOW_UPDATE, PRIORITY, empty DATA and CONTINUATION, unknown frames (the floods of CVE-2019-9511 to
 * 9518). A peer that transfers something earns its share of them.
 */
export class FrameBudget {
  #left = FRAMES_AT_ONCE;
  #refilledAt: number = now();

  /** Something useful was sent or received. */
  dataSent(): void {
    if (this.#left < FRAMES_MAX) this.#left += PER_DATA_SENT;
  }

  dataReceived(): void {
    if (this.#left < FRAMES_MAX) this.#left++;
  }

  streamBegun(): void {
    if (this.#left < FRAMES_MAX) this.#left += PER_STREAM;
  }

  /** Counts a frame that brings nothing. False: it was one too many. */
  allows(): boolean {
    if (--this.#left > 0) return true;
    const at = now();
    this.#left = Math.min(FRAMES_AT_ONCE, Math.floor(((at - this.#refilledAt) / 1_000) * FRAMES_PER_SECOND));
    this.#refilledAt = at;
    return this.#left > 0;
  }
}
