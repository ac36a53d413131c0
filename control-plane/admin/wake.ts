import { setTimeout as sleep } from "node:timers/promises";

/** Remembers that something happened until somebody waits for it. */
export class Wake {
  readonly #signal: AbortSignal;
  readonly #onAbort = () => this.now();
  #happened = false;
  #resolve = () => {};

  /** @param signal ends every wait */
  constructor(signal: AbortSignal) {
    this.#signal = signal;
    signal.addEventListener("abort", this.#onAbort);
  }

  /** It has happened. */
  now(): void {
    this.#happened = true;
    this.#resolve();
  }

  /**
   * Returns after `now`, also one before the call, or when the signal ends it.
   * @param pauseMs at least so long after the call, so that what happens in a row is seen together
   */
  async wait(pauseMs = 0): Promise<void> {
    if (pauseMs > 0) await sleep(pauseMs, undefined, { signal: this.#signal }).catch(() => undefined);
    if (!this.#happened && !this.#signal.aborted) {
      await new Promise<void>((resolve) => {
        this.#resolve = resolve;
      });
    }
    this.#happened = false;
  }

  close(): void {
    this.#signal.removeEventListener("abort", this.#onAbort);
  }
}
