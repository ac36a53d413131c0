/** A worker that crashes is replaced at once, and after n crashes within a minute only after base * 2^n ms. */
const RESTART_MS_BASE = 100;
const RESTART_MS_MAX = 10_000;
const CRASH_WINDOW_MS = 60_000;

/** How long to wait until a worker that crashed is replaced: not at all, unless that happens again and again. */
export class CrashDelays {
  readonly #crashedAt = new Map<number, readonly number[]>();

  /** Takes note of a crash. `position`: of the worker among the workers; `nowMs`: by a clock that never goes back. Returns the delay in ms. */
  crashed(position: number, nowMs: number): number {
    const before = this.#crashedAt.get(position) ?? [];
    const recent = [...before.filter((at) => nowMs - at < CRASH_WINDOW_MS), nowMs];
    this.#crashedAt.set(position, recent);
    return recent.length === 1 ? 0 : Math.min(RESTART_MS_MAX, RESTART_MS_BASE * 2 ** recent.length);
  }
}
