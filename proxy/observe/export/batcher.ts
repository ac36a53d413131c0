import type { ExportStats } from "../../listen/context.ts";
import { TIMEOUT_MS_MAX } from "../../listen/timers.ts";

/** How a {@link Batcher} gathers and sends. */
export interface BatcherOptions<Item> {
  /** A batch goes when it has so many bytes, or the oldest of its items has waited so long. */
  readonly batchBytes: number;
  readonly flushMs: number;
  /** What may wait while a batch is on its way, in bytes; what comes after that is dropped and counted. */
  readonly waitingBytesMax: number;
  /** Where it is counted what arrived and what did not. */
  readonly stats?: ExportStats | undefined;
  /** Sends a batch; rejects if it did not arrive. It must end by itself. */
  send(batch: readonly Item[]): Promise<void>;
}

/** After a failure nothing is sent for this long, twice as long after each further one. */
const BACK_OFF_MS_BASE = 500;
const BACK_OFF_MS_MAX = 30_000;

/** What the end may take. */
const CLOSE_MS_MAX = 2_000;

/**
 * Gathers items and sends them in batches, one at a time. Never waits and never throws: requests go on when a collector doesn't keep up,
 * or isn't there. A batch that failed is lost, and counted.
 */
export class Batcher<Item> {
  readonly #options: BatcherOptions<Item>;
  #waiting: Item[] = [];
  #bytes = 0;
  #timer: NodeJS.Timeout | undefined;
  #sending: Promise<void> | undefined;
  #failures = 0;
  #notBefore = 0;

  constructor(options: BatcherOptions<Item>) {
    this.#options = options;
  }

  /** Takes an item of so many bytes. */
  add(item: Item, bytes: number): void {
    if (this.#bytes + bytes > this.#options.waitingBytesMax) {
      this.#options.stats?.dropped.inc();
      return;
    }
    this.#waiting.push(item);
    this.#bytes += bytes;
    if (this.#bytes >= this.#options.batchBytes) this.#flush();
    else this.#flushLater();
  }

  /** Sends what is left, if that is possible at once. */
  async close(): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, CLOSE_MS_MAX);
    });
    const rest = async () => {
      await this.#sending;
      this.#flush();
      await this.#sending;
    };
    await Promise.race([rest(), late]);
    clearTimeout(timer);
    clearTimeout(this.#timer);
    this.#options.stats?.dropped.inc(this.#waiting.length);
    this.#waiting = [];
  }

  #flushLater(): void {
    this.#timer ??= setTimeout(() => this.#flush(), Math.min(TIMEOUT_MS_MAX, this.#options.flushMs)).unref();
  }

  #flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#sending !== undefined || this.#waiting.length === 0) return;
    const pauseMs = this.#notBefore - performance.now();
    if (pauseMs > 0) {
      this.#timer = setTimeout(() => this.#flush(), pauseMs).unref();
      return;
    }
    const batch = this.#waiting;
    this.#waiting = [];
    this.#bytes = 0;
    this.#sending = this.#send(batch).finally(() => {
      this.#sending = undefined;
      if (this.#bytes >= this.#options.batchBytes) this.#flush();
      else if (this.#waiting.length > 0) this.#flushLater();
    });
  }

  async #send(batch: readonly Item[]): Promise<void> {
    try {
      await this.#options.send(batch);
      this.#options.stats?.sent.inc(batch.length);
      this.#failures = 0;
    } catch {
      this.#options.stats?.dropped.inc(batch.length);
      const backOffMs = Math.min(BACK_OFF_MS_BASE * 2 ** this.#failures++, BACK_OFF_MS_MAX);
      // Many proxies lose a collector at once; they shall not come back at once.
      this.#notBefore = performance.now() + backOffMs * (0.5 + Math.random() / 2);
    }
  }
}
