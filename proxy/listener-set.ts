import { type ListenContext, type RunningListener, startListener } from "./listen/listener.ts";
import type { ListeningSocket } from "./listen/listening-sockets.ts";
import type { ListenerOptions } from "./listen/options.ts";

interface Open {
  readonly address: string;
  readonly running: RunningListener;
}

/** The listeners of one worker by name. Changes are carried out one after the other, in the order in which they are asked for. */
export class ListenerSet {
  readonly #context: ListenContext;
  readonly #drainTimeMs: number;
  readonly #failed: (name: string, error: Error) => void;
  readonly #open = new Map<string, Open>();
  /** Listeners that were removed or have moved, until their last connection ends. */
  readonly #draining = new Set<Promise<void>>();
  /** Listeners that could not be opened, and of which no earlier state goes on. */
  readonly #missing = new Set<string>();
  #queue: Promise<void> = Promise.resolve();
  #closed = false;

  /** `failed` is told of a listener that could not be opened; one that it should have replaced goes on. */
  constructor(context: ListenContext, drainTimeMs: number, failed: (name: string, error: Error) => void) {
    this.#context = context;
    this.#drainTimeMs = drainTimeMs;
    this.#failed = failed;
  }

  /** Opens or changes a listener, or takes it away if there are no options. */
  set(name: string, options: ListenerOptions | undefined): void {
    this.#queue = this.#queue.then(() => this.#change(name, options));
  }

  /** The open sockets that connections are accepted on. */
  sockets(): ListeningSocket[] {
    return [...this.#open.values()].flatMap(({ running }) => running.sockets());
  }

  /** Has the listeners take the sockets that came for their addresses since they were opened. */
  async adopt(): Promise<void> {
    await this.#queue;
    for (const [name, { running }] of this.#open) {
      await running.adopt().catch((error: Error) => this.#failed(name, error));
    }
  }

  /** Whether there are listeners to open, and not one of them is. */
  get down(): boolean {
    return this.#open.size === 0 && this.#missing.size > 0;
  }

  /** To be called when the context's `healthFailed` says something else than before. */
  healthChanged(): void {
    for (const { running } of this.#open.values()) running.healthChanged();
  }

  /** When all changes asked for so far are carried out. */
  settled(): Promise<void> {
    return this.#queue;
  }

  /** Stops listening and resolves when the last connection has ended, at the latest after so many ms. Nothing is opened any more. */
  async drain(timeMs: number): Promise<void> {
    this.#closed = true;
    await this.#queue;
    await Promise.all([...[...this.#open.values()].map(({ running }) => running.drain(timeMs)), ...this.#draining]);
  }

  async #change(name: string, options: ListenerOptions | undefined): Promise<void> {
    if (this.#closed) return;
    const old = this.#open.get(name);
    this.#missing.delete(name);
    if (options === undefined) {
      this.#open.delete(name);
      if (old !== undefined) this.#retire(old);
      return;
    }
    const address = JSON.stringify([options.address, options.port, options.backlog, options.additionalAddresses]);
    if (old?.address === address) {
      old.running.update(options, this.#drainTimeMs);
      return;
    }
    try {
      // A listener that moves is open at the new place before it closes at the old one (proxy-parity 3.11).
      const running = await startListener(options, this.#context);
      this.#open.set(name, { address, running });
      if (old !== undefined) this.#retire(old);
    } catch (error) {
      if (old === undefined) this.#missing.add(name);
      this.#failed(name, error instanceof Error ? error : new Error(String(error)));
    }
  }

  #retire({ running }: Open): void {
    const drained = running.drain(this.#drainTimeMs).finally(() => this.#draining.delete(drained));
    this.#draining.add(drained);
  }
}
