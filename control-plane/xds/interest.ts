import type { ResourceChange } from "./cache.ts";

/** Stands for every name of a type (xDS: the wildcard subscription). */
export const WILDCARD = "*";

/** Somebody who is told of changes: a stream. */
export interface Watcher {
  /** Resources of a view that the watcher wants have changed. Several calls may follow in the same turn of the event loop. */
  changed(view: string, changes: readonly ResourceChange[]): void;
  /** The watcher's gateway group has come into being, has gone, or may now be served. */
  groupChanged(): void;
}

/** Who wants which names of one gateway group, so that a change finds those whom it concerns and touches nobody else. */
export class InterestIndex {
  /** By view: a type URL, or WHOLE_ROUTES. */
  readonly #byView = new Map<string, Map<string, Set<Watcher>>>();

  /** @param name a resource's name, or WILDCARD */
  add(view: string, name: string, watcher: Watcher): void {
    let byName = this.#byView.get(view);
    if (byName === undefined) this.#byView.set(view, (byName = new Map()));
    const watchers = byName.get(name);
    if (watchers === undefined) byName.set(name, new Set([watcher]));
    else watchers.add(watcher);
  }

  /** Takes one interest back; one that is not there is no error. */
  remove(view: string, name: string, watcher: Watcher): void {
    const byName = this.#byView.get(view);
    const watchers = byName?.get(name);
    if (byName === undefined || watchers === undefined) return;
    watchers.delete(watcher);
    if (watchers.size === 0) byName.delete(name);
    if (byName.size === 0) this.#byView.delete(view);
  }

  /** Tells each watcher once of those changes that it wants. */
  tell(view: string, changes: readonly ResourceChange[]): void {
    const byName = this.#byView.get(view);
    if (byName === undefined) return;
    const all = byName.get(WILDCARD);
    const some = new Map<Watcher, ResourceChange[]>();
    for (const change of changes) {
      // A resource that is really called "*" cannot be asked for by name.
      if (change.name === WILDCARD) continue;
      for (const watcher of byName.get(change.name) ?? []) {
        if (all?.has(watcher)) continue;
        const own = some.get(watcher);
        if (own === undefined) some.set(watcher, [change]);
        else own.push(change);
      }
    }
    for (const watcher of all ?? []) watcher.changed(view, changes);
    for (const [watcher, own] of some) watcher.changed(view, own);
  }
}
