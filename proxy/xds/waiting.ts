import { byType, type ShortName } from "./by-type.ts";

/** Whether a resource that is not whole shall wait on; asking starts its time. */
export type Patience = (shortName: ShortName, name: string) => boolean;

/** Names whose latest state (which may be "gone") differs from what is in use, and since when each waits. */
export class Waiting {
  readonly #changed = byType(() => new Set<string>());
  /** Not started anew when a name changes again, or it might wait for ever. */
  readonly #since = byType(() => new Map<string, number>());

  /** The latest state of a name has to be looked at. */
  add(shortName: ShortName, name: string): void {
    this.#changed[shortName].add(name);
  }

  /** Names of a type that have to be looked at. */
  names(shortName: ShortName): ReadonlySet<string> {
    return this.#changed[shortName];
  }

  /** There is nothing to do for a name until it changes again. */
  settled(shortName: ShortName, name: string): void {
    this.#changed[shortName].delete(name);
    this.#since[shortName].delete(name);
  }

  /** All names of a type have been looked at. */
  clear(shortName: ShortName): void {
    this.#changed[shortName].clear();
  }

  /** If a name waits, its time begins when it is next asked about. */
  restart(shortName: ShortName, name: string): void {
    this.#since[shortName].delete(name);
  }

  /** Has names wait for `patienceMs` from when they were first asked about. */
  patience(nowMs: number, patienceMs: number): Patience {
    return (shortName, name) => {
      const since = this.#since[shortName].get(name) ?? nowMs;
      this.#since[shortName].set(name, since);
      return nowMs - since < patienceMs;
    };
  }

  /** Since when the name that waits longest does; undefined: none waits. */
  get longestMs(): number | undefined {
    let first: number | undefined;
    for (const since of Object.values(this.#since).flatMap((map) => [...map.values()])) {
      if (first === undefined || since < first) first = since;
    }
    return first;
  }
}
