import { isIP } from "node:net";
import { lookup } from "node:dns/promises";

/** The addresses of each host name; one that has none, or was never found, has an empty list. */
export type Addresses = ReadonlyMap<string, readonly string[]>;

/** Addresses of a name, as the machine's own resolver has them. */
type LookUp = (name: string) => Promise<readonly string[]>;

/** How often names are looked up again while the registry says nothing new. */
export const NAMES_INTERVAL_MS = 30_000;
/** Lookups under way at once: each takes a thread of the few that there are. */
const LOOKUPS_MAX = 4;

const bySystem: LookUp = async (name) => (await lookup(name, { all: true })).map(({ address }) => address);

/**
 * Host names that a registry has in place of addresses. What could be looked up once stays while a resolver is away: that is no reason to
 * take instances out. A name that is said not to exist has no addresses.
 */
export class HostNames {
  readonly #lookUp: LookUp;
  #known = new Map<string, readonly string[]>();

  constructor(lookUp: LookUp = bySystem) {
    this.#lookUp = lookUp;
  }

  /** Looks all of them up, and forgets others. */
  async resolve(names: readonly string[]): Promise<Addresses> {
    const found = new Map<string, readonly string[]>();
    const waiting = [...new Set(names)];
    const work = async () => {
      for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) found.set(name, await this.#one(name));
    };
    await Promise.all(Array.from({ length: Math.min(LOOKUPS_MAX, waiting.length) }, work));
    this.#known = found;
    return found;
  }

  async #one(name: string): Promise<readonly string[]> {
    try {
      return (await this.#lookUp(name)).toSorted();
    } catch (error) {
      const isGone = error instanceof Error && "code" in error && error.code === "ENOTFOUND";
      return isGone ? [] : (this.#known.get(name) ?? []);
    }
  }
}

/** Whether it is neither an address nor nothing. */
export const isHostName = (address: string): boolean => address !== "" && isIP(address) === 0;

/**
 * The same items, and the latest of them again whenever it was the latest for so long.
 * @param intervalMs for an item; undefined if it need not be repeated
 */
export async function* repeated<Item>(
  items: AsyncIterable<Item>,
  intervalMs: (item: Item) => number | undefined,
  signal: AbortSignal,
): AsyncGenerator<Item> {
  const iterator = items[Symbol.asyncIterator]();
  const next: { arrived?: Arrived<Item> | undefined; wake: () => void } = { wake: () => {} };
  // One reaction to each item, however often the one before it is repeated while it is awaited.
  const ask = () => {
    const arrive = (arrived: Arrived<Item>) => {
      next.arrived = arrived;
      next.wake();
    };
    next.arrived = undefined;
    iterator.next().then(
      (result) => arrive({ result }),
      (error: unknown) => arrive({ error }),
    );
  };
  const onAbort = () => next.wake();
  signal.addEventListener("abort", onAbort);
  try {
    let last: { readonly item: Item } | undefined;
    ask();
    while (!signal.aborted) {
      if (next.arrived === undefined) {
        const waitMs = last && intervalMs(last.item);
        await new Promise<void>((resolve) => {
          const timer = waitMs === undefined ? undefined : setTimeout(resolve, waitMs).unref();
          next.wake = () => {
            clearTimeout(timer);
            resolve();
          };
        });
        if (signal.aborted) return;
      }
      const { arrived } = next;
      if (arrived !== undefined) {
        if ("error" in arrived) throw arrived.error;
        if (arrived.result.done === true) return;
        last = { item: arrived.result.value };
        ask();
      }
      if (last !== undefined) yield last.item;
    }
  } finally {
    signal.removeEventListener("abort", onAbort);
    void Promise.resolve(iterator.return?.()).catch(() => undefined);
  }
}

type Arrived<Item> = { readonly result: IteratorResult<Item> } | { readonly error: unknown };
