import { Timer, type TimerOwner, timers } from "../listen/timers.ts";
import type { RetryPolicy } from "../route/route.ts";

/** What each attempt of a request is given: per_try_timeout until its response begins, per_try_idle_timeout between what comes of it. */
export class TryTimes {
  readonly #policy: RetryPolicy;
  readonly #timeout: Timer;
  readonly #idle: Timer;

  /** The owner's onTimer() gets one of the two kinds. */
  constructor(policy: RetryPolicy, owner: TimerOwner, timeoutKind: number, idleKind: number) {
    this.#policy = policy;
    this.#timeout = new Timer(owner, timeoutKind);
    this.#idle = new Timer(owner, idleKind);
  }

  /** Undefined: the policy bounds neither. */
  static of(policy: RetryPolicy | undefined, owner: TimerOwner, timeoutKind: number, idleKind: number) {
    const bounds = policy !== undefined && policy.perTryTimeoutMs + policy.perTryIdleTimeoutMs > 0;
    return bounds ? new TryTimes(policy, owner, timeoutKind, idleKind) : undefined;
  }

  /** The attempt has the whole request. */
  start(): void {
    if (this.#policy.perTryTimeoutMs > 0) timers.schedule(this.#timeout, this.#policy.perTryTimeoutMs);
  }

  /** The response has begun. */
  answered(): void {
    timers.cancel(this.#timeout);
    this.moved();
  }

  /** Something of the attempt has moved. */
  moved(): void {
    if (this.#policy.perTryIdleTimeoutMs > 0) timers.schedule(this.#idle, this.#policy.perTryIdleTimeoutMs);
  }

  /** The attempt is over, or has become a tunnel. */
  cancel(): void {
    timers.cancel(this.#timeout);
    timers.cancel(this.#idle);
  }
}
