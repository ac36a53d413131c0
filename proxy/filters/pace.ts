/** What a peer that is to send or to take bytes must come to. */
export interface MinimumRate {
  /** Bytes a second at least; 0: any pace will do. */
  readonly bytesPerSecond: number;
  /** How long it may do nothing at all, in ms. */
  readonly graceMs: number;
}

/** The rates of a listener's bodies. */
export interface BodyRates {
  /** Of request bodies, as clients send them. */
  readonly request: MinimumRate;
  /** Of responses, as clients take them. */
  readonly response: MinimumRate;
}

/**
 * Who sends more than is asked for may rest for it later, but not for more than this: or a fast beginning would buy a connection for days. A
 * kernel's buffer swallows about as much at once, so that even a steady reader seems to come by leaps.
 */
const CREDIT_BYTES_MAX = 262_144;

/**
 * Holds a peer to a minimum rate: an account of time, which waiting for it draws on and bytes pay into. Time in which it is we who don't want to go on is
 * not its fault and costs nothing. Times are performance.now().
 */
export class Pace {
  readonly #msPerByte: number;
  readonly #creditMsMax: number;
  #creditMs: number;
  /** Bytes that were paid in. */
  #bytes = 0;
  /** Since when we wait for the peer; -1: we don't. */
  #since = -1;

  constructor({ bytesPerSecond, graceMs }: MinimumRate) {
    this.#msPerByte = 1000 / bytesPerSecond;
    this.#creditMs = graceMs;
    this.#creditMsMax = graceMs + CREDIT_BYTES_MAX * this.#msPerByte;
  }

  /** It's the peer's turn, from now on; `bytes`: what it has come to so far. */
  wait(now: number, bytes: number): void {
    this.#settle(now, bytes);
    this.#since = now;
  }

  /** It isn't any more. */
  rest(now: number, bytes: number): void {
    this.#settle(now, bytes);
    this.#since = -1;
  }

  /** ms until the peer is too slow unless more bytes come; 0 or less: it is. Infinity: nobody waits for it. */
  left(now: number, bytes: number): number {
    this.#settle(now, bytes);
    return this.#since < 0 ? Number.POSITIVE_INFINITY : this.#creditMs;
  }

  #settle(now: number, bytes: number): void {
    this.#creditMs = Math.min(this.#creditMsMax, this.#creditMs + (bytes - this.#bytes) * this.#msPerByte);
    this.#bytes = bytes;
    if (this.#since < 0) return;
    this.#creditMs -= now - this.#since;
    this.#since = now;
  }
}
