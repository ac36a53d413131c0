import { StoreError } from "./errors.ts";

/** Lets one write run at a time, in the order in which they came, and a bounded number wait. */
export class WriteQueue {
  readonly #waitingMax: number;
  #last: Promise<unknown> = Promise.resolve();
  #waiting = 0;
  #closed = false;

  constructor(waitingMax: number) {
    this.#waitingMax = waitingMax;
  }

  /** @throws StoreError "busy" when too many wait, "unavailable" once it is closed */
  async run<Result>(write: () => Promise<Result>): Promise<Result> {
    if (this.#closed) throw closing();
    if (this.#waiting >= this.#waitingMax) {
      throw new StoreError("busy", `${this.#waiting} writes are waiting already; try again later`);
    }
    this.#waiting += 1;
    const turn = this.#last.then(async () => {
      this.#waiting -= 1;
      if (this.#closed) throw closing();
      return await write();
    });
    // Nothing of what it wrote is kept for the sake of the order: an apply of thousands of services is megabytes.
    this.#last = turn.then(ended, ended);
    return await turn;
  }

  /** Waits for the write under way; those that wait are refused. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#last;
  }
}

const ended = () => undefined;

const closing = () => new StoreError("unavailable", "the control plane is shutting down");
