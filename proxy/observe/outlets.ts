/** Something that listeners write to, or send by: a file, a stream to a collector. */
export interface Outlet {
  /** Writes, or sends, what is left, and gives up what it has open. Never rejects. */
  close(): Promise<void>;
}

/** The last lines of a connection are written when its time is over. */
const KEPT_MS_SLACK = 1_000;

/** What a listener uses, and what it used before its last change. */
interface Use {
  readonly now: ReadonlySet<string>;
  readonly before: ReadonlySet<string>;
}

const nothing: ReadonlySet<string> = new Set();

/**
 * The outlets of one worker, and which listeners use them. Two configurations that agree share one, so that a listener that changes keeps its
 * files and streams. What no listener uses any more is closed after as long as connections of former listeners may last: otherwise the
 * file of a log that was moved, and the stream to a collector of former settings, would stay open for ever.
 */
export class Outlets {
  readonly #keptMs: number;
  readonly #byKey = new Map<string, Outlet>();
  readonly #byListener = new Map<string, Use>();
  /** Keys that no listener uses, and since when; the one that has been so for longest first. */
  readonly #unusedMs = new Map<string, number>();
  #noted: Set<string> | undefined;
  #timer: NodeJS.Timeout | undefined;

  /** `drainTimeMs`: how long connections of listeners that have changed, or are gone, may go on. */
  constructor(drainTimeMs = 0) {
    this.#keptMs = drainTimeMs + KEPT_MS_SLACK;
  }

  /** The outlet of a key; made when first asked for. Keys of one kind of outlet begin alike, and as no other's. */
  get<Kind extends Outlet>(key: string, make: () => Kind): Kind {
    this.#noted?.add(key);
    const known = this.#byKey.get(key);
    if (known !== undefined) return known as Kind;
    const made = make();
    this.#byKey.set(key, made);
    return made;
  }

  /** All outlets that there are. */
  values(): Iterable<Outlet> {
    return this.#byKey.values();
  }

  /** Makes something, and says which outlets it asked for. They stay for a while, until {@link use} tells whose they are. */
  noting<Made>(make: () => Made): { readonly made: Made; readonly keys: ReadonlySet<string> } {
    const keys = new Set<string>();
    this.#noted = keys;
    try {
      return { made: make(), keys };
    } finally {
      this.#noted = undefined;
      this.#release(keys);
    }
  }

  /** A listener uses these from now on, and no others; undefined: it is gone. */
  use(listener: string, keys: ReadonlySet<string> | undefined): void {
    const before = this.#byListener.get(listener)?.now ?? nothing;
    if (keys === undefined) this.#byListener.delete(listener);
    else this.#set(listener, { now: keys, before });
    this.#release(before);
  }

  /** The listener could not be opened as it was to be: what it used before is used on. */
  keep(listener: string): void {
    const use = this.#byListener.get(listener);
    if (use !== undefined) this.#set(listener, { now: use.now.union(use.before), before: nothing });
  }

  /** Closes all of them. */
  async close(): Promise<void> {
    clearTimeout(this.#timer);
    await Promise.all(Array.from(this.#byKey.values(), (outlet) => outlet.close()));
  }

  #set(listener: string, use: Use): void {
    this.#byListener.set(listener, use);
    for (const key of use.now) this.#unusedMs.delete(key);
  }

  /** These are not used, or not for a reason that we know of; their time begins anew. */
  #release(keys: ReadonlySet<string>): void {
    for (const key of keys) {
      if (this.#byListener.values().some(({ now }) => now.has(key))) continue;
      this.#unusedMs.delete(key);
      this.#unusedMs.set(key, performance.now());
    }
    this.#lookLater();
  }

  #lookLater(): void {
    const [oldestMs] = this.#unusedMs.values();
    if (oldestMs === undefined || this.#timer !== undefined) return;
    const delayMs = Math.max(1, oldestMs + this.#keptMs - performance.now());
    this.#timer = setTimeout(() => this.#look(), delayMs).unref();
  }

  #look(): void {
    this.#timer = undefined;
    const untilMs = performance.now() - this.#keptMs;
    for (const [key, sinceMs] of this.#unusedMs) {
      if (sinceMs > untilMs) break;
      this.#unusedMs.delete(key);
      const outlet = this.#byKey.get(key);
      this.#byKey.delete(key);
      void outlet?.close();
    }
    this.#lookLater();
  }
}
