import type { XdsLimits } from "./limits.ts";

/**
 * The time before a stream sends anything: others' first syncs go before (lesson 28), and a client that comes back is heard out. Until it
 * has asked for its routes, too, it isn't known that they must change before a cluster is taken away that they still use (W6).
 */
export class Quiet {
  readonly #limits: XdsLimits;
  #startMs = 0;
  #resumed: { readonly heardMs: number; readonly routesMs: number; readonly isLast: boolean } | undefined;

  constructor(limits: XdsLimits) {
    this.#limits = limits;
  }

  /** Nothing goes out before this time. */
  startAt(timeMs: number): void {
    this.#startMs = timeMs;
  }

  /** The client holds what a stream before has brought, and begins to ask for it. @param aggregated its routes will be asked for here */
  resume(nowMs: number, aggregated: boolean): void {
    if (this.#resumed !== undefined) return;
    const { reconnectMs, resumeMs } = this.#limits;
    const heardMs = nowMs + reconnectMs;
    this.#resumed = { heardMs, routesMs: aggregated ? nowMs + resumeMs : heardMs, isLast: !aggregated };
  }

  /** The time at which the stream should look again; undefined if it may send. @param routesKnown whether routes have been asked for */
  until(nowMs: number, routesKnown: boolean): number | undefined {
    const { reconnectMs } = this.#limits;
    const resumed = this.#resumed;
    if (resumed !== undefined && !routesKnown && !resumed.isLast && nowMs >= resumed.routesMs) {
      // Where this process was busy all the while, as with a crowd that came back, requests may lie unread: once more, then.
      this.#resumed = { ...resumed, routesMs: nowMs + reconnectMs, isLast: true };
    }
    const { heardMs = 0, routesMs = 0 } = this.#resumed ?? {};
    const untilMs = Math.max(this.#startMs, heardMs, routesKnown ? 0 : routesMs);
    return nowMs < untilMs ? untilMs : undefined;
  }
}
