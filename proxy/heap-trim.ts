/** A batch of so many updates leaves behind garbage that is worth a collection, as does the first one of all: loading the program left its own. */
const UPDATES_MIN = 1_000;

/** After the last such batch; what it brings about, as the snapshot on disk, is done by then. */
export const TRIM_DELAY_MS = 5_000;

/**
 * Gives back what a large change took for a moment. V8 lets its heap grow while there is much to do, and then looks for garbage only when as much
 * again has been allocated: in a main thread with little to do, never. So this asks for a thorough collection once it is quiet. It takes some tenths of
 * a second, in which workers go on serving.
 */
export class HeapTrim {
  readonly #collect: (() => unknown) | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isFirst = true;

  /** `collect`: default is V8's own, which is there where the program was started with --expose-gc (control-plane/cli/sluice). */
  constructor(collect: (() => unknown) | undefined = collector()) {
    this.#collect = collect;
  }

  /** So many resources changed at once. */
  changed(updates: number): void {
    if ((updates < UPDATES_MIN && !this.#isFirst) || this.#collect === undefined) return;
    this.#isFirst = false;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(this.#collect, TRIM_DELAY_MS);
    this.#timer.unref();
  }

  /** Nothing is collected any more. */
  close(): void {
    clearTimeout(this.#timer);
  }
}

/** V8's own thorough collection, where it may be asked for. "last-resort" also moves together what is left, so that pages become free. */
export function collector(): (() => unknown) | undefined {
  const { gc } = globalThis;
  return gc && (() => gc({ type: "major", execution: "sync", flavor: "last-resort" }));
}
