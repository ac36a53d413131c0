import { setTimeout as sleep } from "node:timers/promises";

import type { Logger } from "pino";

/** A store that fails is tried so often. */
const RETRY_MS = 1_000;

/** What is decided and written down: of each gateway group one thing after the other. */
export class Decisions {
  readonly #log: Pick<Logger, "error">;
  readonly #last = new Map<string, Promise<void>>();
  readonly #closed = new AbortController();

  constructor(log: Pick<Logger, "error">) {
    this.#log = log;
  }

  get isClosed(): boolean {
    return this.#closed.signal.aborted;
  }

  /** Does something once all that was begun before is done. */
  enqueue(group: string, work: () => Promise<unknown>): void {
    const done = (this.#last.get(group) ?? Promise.resolve()).then(work).then(
      () => undefined,
      (error: unknown) => this.#log.error({ gatewayGroup: group, err: error }, "trial: the store fails"),
    );
    this.#last.set(group, done);
    void done.then(() => this.#last.get(group) === done && this.#last.delete(group));
  }

  /**
   * Has something written down, however often that takes: what is decided next must not be known before it, nor other control planes wait
   * for it in vain. To be called by what was enqueued. @returns undefined: this control plane ends
   */
  async write<Result>(group: string, write: () => Promise<Result>): Promise<Result | undefined> {
    const { signal } = this.#closed;
    for (let times = 1; ; times++) {
      try {
        return await write();
      } catch (error) {
        const said = "trial: the store fails; trying again";
        if (times === 1 && !signal.aborted) this.#log.error({ gatewayGroup: group, err: error }, said);
      }
      await sleep(RETRY_MS, undefined, { signal }).catch(() => undefined);
      if (signal.aborted) return undefined;
    }
  }

  /** Ends what waits for a store that fails, and waits for the rest. */
  async close(): Promise<void> {
    this.#closed.abort();
    await Promise.all(this.#last.values());
  }
}
