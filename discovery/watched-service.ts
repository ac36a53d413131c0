import { timestampMs } from "@bufbuild/protobuf/wkt";

import type { ServiceKey, ServiceSnapshot } from "#sluice/discovery/v1/snapshot_pb.ts";

import { retryDelayMs, sleep } from "./backoff.ts";
import { type Canonical, canonical } from "./canonical.ts";
import { type Admitted, admit, type Held, release } from "./hold.ts";
import { DiscoveryError, type Doubt, type Failure, type Source } from "./source.ts";
import { turnToGoOn } from "./turns.ts";

/** All that is known of one watched service; times in milliseconds since 1970. */
export interface WatchView {
  readonly key: ServiceKey;
  /** What is served: the last answer that was believed. Undefined before the first. */
  readonly served: Canonical | undefined;
  /** Whether that is of an earlier run and nothing was heard since. */
  readonly restored: boolean;
  readonly held: Doubt | undefined;
  readonly failure: Failure | undefined;
  /** When the registry last said anything about the service. */
  readonly lastEventMs: number | undefined;
  /** When that last changed anything. */
  readonly lastChangeMs: number | undefined;
  readonly counts: { readonly events: number; readonly changes: number; readonly failures: number };
}

/** What happens to watched services. */
export interface WatchEvents {
  /** There is something else to serve. */
  changed(key: ServiceKey, served: Canonical): void;
  /** The registry's first answer, or first failure, in this run: whoever waited for it need wait no longer. */
  settled(key: ServiceKey): void;
  /** Anything of the view may be different. */
  touched(view: WatchView): void;
}

export interface WatchOptions {
  readonly source: Source;
  readonly key: ServiceKey;
  readonly holdEmptyMs: number;
  /** The last good answer of an earlier run. */
  readonly restored?: Canonical | undefined;
  /** The same for all services: there may be thousands of them. */
  readonly events: WatchEvents;
}

/** A watch that lived so long was a good one: the next failure is the first again. */
const STABLE_MS = 10_000;

/** One service under watch, for as long as somebody wants it. */
export class WatchedService implements WatchView {
  readonly key: ServiceKey;
  restored: boolean;
  failure: Failure | undefined;
  lastEventMs: number | undefined;
  lastChangeMs: number | undefined;
  readonly #source: Source;
  readonly #holdEmptyMs: number;
  readonly #events: WatchEvents;
  #eventCount = 0;
  #changeCount = 0;
  #failureCount = 0;
  #closed = false;
  readonly #done: Promise<void>;
  #run = new AbortController();
  /** Ends the waiting for the source, which may be slow to notice. */
  #interrupt: (ended: undefined) => void = () => {};
  #admitted: Admitted;
  #holdTimer: NodeJS.Timeout | undefined;

  constructor({ source, key, holdEmptyMs, restored, events }: WatchOptions) {
    this.key = key;
    this.#source = source;
    this.#holdEmptyMs = holdEmptyMs;
    this.#events = events;
    this.restored = restored !== undefined;
    this.#admitted = { served: restored, held: undefined };
    this.#done = this.#watch();
  }

  get served(): Canonical | undefined {
    return this.#admitted.served;
  }

  get held(): Doubt | undefined {
    return this.#admitted.held;
  }

  get counts(): WatchView["counts"] {
    return { events: this.#eventCount, changes: this.#changeCount, failures: this.#failureCount };
  }

  /** Begins the watch anew, as after an outage that its connection may not have noticed. */
  restart(): void {
    this.#unhold();
    this.#end();
  }

  /** Ends the watch; resolves when the source holds nothing for it. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#end();
    clearTimeout(this.#holdTimer);
    await this.#done;
  }

  #end(): void {
    this.#run.abort();
    this.#interrupt(undefined);
  }

  /** Watches, again and again. All in one function, since its frame waits in each of thousands of watches. */
  async #watch(): Promise<void> {
    while (!this.#closed) {
      this.#run = new AbortController();
      const { signal } = this.#run;
      const startedMs = Date.now();
      let iterator: AsyncIterator<ServiceSnapshot> | undefined;
      try {
        iterator = this.#source.watch(this.key, signal)[Symbol.asyncIterator]();
        for (let first = true; ; first = false) {
          const next = await this.#next(iterator);
          if (next?.done === true && !signal.aborted) throw new Error("the source ended by itself");
          if (next === undefined || next.done === true) break;
          // The source may have had a turn to make it.
          await turnToGoOn();
          if (signal.aborted) break;
          this.#takeSnapshot(next.value, first);
        }
      } catch (error) {
        if (!signal.aborted) this.#fail(error, Date.now() - startedMs >= STABLE_MS);
      }
      // Nobody waits for a source that hangs; what it throws on its way out nobody needs.
      void Promise.resolve(iterator?.return?.()).catch(() => undefined);
      // One that was restarted goes on at once.
      if (!signal.aborted) await sleep(retryDelayMs(this.failure?.times ?? 1), signal);
    }
  }

  #takeSnapshot(snapshot: ServiceSnapshot, first: boolean): void {
    const said = canonical(snapshot);
    // What is served has the same bytes elsewhere too: a re-list would else double them.
    const answer = this.served?.isSameAs(said) === true ? this.served.saidAgain(said) : said;
    // Whoever yielded it has it at hand until the next one: of thousands of services that would be most of the memory.
    snapshot.endpoints = [];
    this.#take(answer, first, snapshot.observeTime && timestampMs(snapshot.observeTime));
  }

  /** The next item, or undefined as soon as the watch is ended. As little as possible: of thousands of watches most wait here. */
  #next(iterator: AsyncIterator<ServiceSnapshot>): Promise<IteratorResult<ServiceSnapshot> | undefined> {
    return new Promise((resolve, reject) => {
      this.#interrupt = resolve;
      if (this.#run.signal.aborted) resolve(undefined);
      else iterator.next().then(resolve, reject);
    });
  }

  #take(answer: Canonical, first: boolean, saidMs: number | undefined): void {
    const nowMs = Date.now();
    const holdEmptyMs = this.#holdEmptyMs;
    const before = this.#admitted;
    const settles = this.lastEventMs === undefined && this.failure === undefined;
    this.#admitted = admit(before, answer, { nowMs, first, holdEmptyMs });
    this.#eventCount++;
    this.lastEventMs = saidMs ?? nowMs;
    this.failure = undefined;
    this.restored = false;
    this.#setHoldTimer(before.held);
    this.#publish(before.served);
    if (settles) this.#events.settled(this.key);
  }

  #fail(thrown: unknown, wasStable: boolean): void {
    const error = this.#source.explain === undefined ? thrown : this.#source.explain(thrown);
    const known = error instanceof DiscoveryError;
    const settles = this.lastEventMs === undefined && this.failure === undefined;
    const before = wasStable ? undefined : this.failure;
    this.#unhold();
    this.#failureCount++;
    this.failure = {
      kind: known ? error.kind : "bug",
      message: error instanceof Error ? error.message : String(error),
      sinceMs: this.failure?.sinceMs ?? Date.now(),
      times: (before?.times ?? 0) + 1,
    };
    this.#events.touched(this);
    if (settles) this.#events.settled(this.key);
  }

  /** A registry that is away confirms no emptiness: when it is back, the time to doubt begins anew. */
  #unhold(): void {
    this.#admitted = { served: this.#admitted.served, held: undefined };
    clearTimeout(this.#holdTimer);
  }

  /** The time of a doubt runs from its beginning, by the timer alone: clocks are set, and then emptiness is believed too early, or never. */
  #setHoldTimer(before: Held | undefined): void {
    const { held } = this.#admitted;
    if (held !== undefined && before !== undefined) return;
    clearTimeout(this.#holdTimer);
    if (held === undefined || this.#closed) return;
    this.#holdTimer = setTimeout(() => {
      const { served } = this.#admitted;
      this.#admitted = release(this.#admitted);
      this.#publish(served);
    }, this.#holdEmptyMs);
  }

  #publish(before: Canonical | undefined): void {
    const { served } = this.#admitted;
    if (served !== undefined && !(before?.isSameAs(served) ?? false)) {
      this.#changeCount++;
      this.lastChangeMs = Date.now();
      this.#events.changed(this.key, served);
    }
    this.#events.touched(this);
  }
}
