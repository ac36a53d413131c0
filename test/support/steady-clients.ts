/** What became of requests that go on in the background. */
export interface SteadyLoad {
  /** Answered so far. */
  readonly answered: number;
  /** What went wrong and how long after the start, at most some dozens. */
  readonly failures: readonly string[];
  /** Ends it; resolves when the last request is done. */
  stop(): Promise<void>;
}

const FAILURES_MAX = 50;

/** Clients that go on with their requests until they are stopped. */
export class SteadyClients implements SteadyLoad {
  answered = 0;
  /** Requests that the server said it would not process (RFC 9113, 8.7), and that were sent again. */
  refused = 0;
  readonly failures: string[] = [];
  /** Clients end when it is so. */
  stopped = false;
  readonly #startMs = performance.now();
  readonly #onStopped: () => void;
  #running: readonly Promise<void>[] = [];

  constructor(onStopped: () => void = () => {}) {
    this.#onStopped = onStopped;
  }

  /** Begins. @param client goes on until {@link stopped}; it is told its number */
  run(clients: number, client: (which: number) => Promise<void>): this {
    // One that throws has failed, and at once: whoever stops the load comes later.
    const run = (which: number) =>
      client(which).catch((error: unknown) => this.fail(`client ${which}: ${String(error)}`));
    this.#running = Array.from({ length: clients }, (_, which) => run(which));
    return this;
  }

  fail(text: string): void {
    const afterS = (performance.now() - this.#startMs) / 1000;
    if (this.failures.length < FAILURES_MAX) this.failures.push(`${afterS.toFixed(2)} s: ${text}`);
  }

  async stop(): Promise<void> {
    this.stopped = true;
    await Promise.all(this.#running);
    this.#onStopped();
  }
}
