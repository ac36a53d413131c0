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

/** Watchers that want the same names of a view. Data planes that are alike do, and each name then knows one crowd instead of a thousand watchers. */
class Crowd {
  readonly names: ReadonlySet<string>;
  readonly watchers = new Set<Watcher>();

  constructor(names: ReadonlySet<string>) {
    this.names = names;
  }
}

/** Who wants what of one view. */
interface View {
  /** Who wants a name: watchers by themselves, and crowds. */
  readonly byName: Map<string, Set<Watcher | Crowd>>;
  readonly crowds: Map<ReadonlySet<string>, Crowd>;
  /** The crowd of each watcher that is in one. */
  readonly crowdOf: Map<Watcher, Crowd>;
}

/** Who wants which names of one gateway group, so that a change finds those whom it concerns and touches nobody else. */
export class InterestIndex {
  /** By view: a type URL, or WHOLE_ROUTES. */
  readonly #views = new Map<string, View>();

  /** @param name a resource's name, or WILDCARD */
  add(view: string, name: string, watcher: Watcher): void {
    const found = this.#view(view);
    if (!found.crowdOf.get(watcher)?.names.has(name)) want(found, name, watcher);
  }

  /**
   * Adds many names at once that other watchers may want, too. The watcher is in no crowd of the view yet.
   *
   * @param names without WILDCARD; never changed. Watchers that give the same set are one crowd.
   */
  addTogether(view: string, names: ReadonlySet<string>, watcher: Watcher): void {
    const found = this.#view(view);
    let crowd = found.crowds.get(names);
    if (crowd === undefined) {
      found.crowds.set(names, (crowd = new Crowd(names)));
      for (const name of names) want(found, name, crowd);
    }
    crowd.watchers.add(watcher);
    found.crowdOf.set(watcher, crowd);
  }

  /** Takes one interest back; one that is not there is no error. */
  remove(view: string, name: string, watcher: Watcher): void {
    const found = this.#views.get(view);
    if (found === undefined) return;
    if (found.crowdOf.get(watcher)?.names.has(name)) {
      // From here on it goes its own way.
      const { names } = leaveCrowd(found, watcher);
      for (const other of names) if (other !== name) want(found, other, watcher);
    }
    unwant(found, name, watcher);
    if (found.byName.size === 0) this.#views.delete(view);
  }

  /** Takes all interests of a watcher in a view back. @param names those that it was added with, in whatever way */
  removeAll(view: string, names: Iterable<string>, watcher: Watcher): void {
    const found = this.#views.get(view);
    if (found === undefined) return;
    const crowd = found.crowdOf.has(watcher) ? leaveCrowd(found, watcher) : undefined;
    for (const name of names) if (!crowd?.names.has(name)) this.remove(view, name, watcher);
    if (found.byName.size === 0) this.#views.delete(view);
  }

  /** Tells each watcher once of those changes that it wants. */
  tell(view: string, changes: readonly ResourceChange[]): void {
    const byName = this.#views.get(view)?.byName;
    if (byName === undefined) return;
    // Nobody can join a crowd by the wildcard.
    const all = byName.get(WILDCARD);
    for (const watcher of watchersIn(all)) watcher.changed(view, changes);
    const some = new Map<Watcher, ResourceChange[]>();
    for (const change of changes) {
      // A resource that is really called "*" cannot be asked for by name.
      if (change.name === WILDCARD) continue;
      for (const watcher of watchersIn(byName.get(change.name))) {
        if (all?.has(watcher)) continue;
        const own = some.get(watcher);
        if (changes.length === 1) watcher.changed(view, changes);
        else if (own === undefined) some.set(watcher, [change]);
        else own.push(change);
      }
    }
    for (const [watcher, own] of some) watcher.changed(view, own);
  }

  #view(view: string): View {
    let found = this.#views.get(view);
    if (found === undefined) {
      this.#views.set(view, (found = { byName: new Map(), crowds: new Map(), crowdOf: new Map() }));
    }
    return found;
  }
}

function want({ byName }: View, name: string, who: Watcher | Crowd): void {
  const all = byName.get(name);
  if (all === undefined) byName.set(name, new Set([who]));
  else all.add(who);
}

function unwant({ byName }: View, name: string, who: Watcher | Crowd): void {
  const all = byName.get(name);
  if (all?.delete(who) && all.size === 0) byName.delete(name);
}

/** Each watcher once: who is in a crowd that wants the name is not there by itself. */
function* watchersIn(all: ReadonlySet<Watcher | Crowd> | undefined): Iterable<Watcher> {
  for (const who of all ?? []) {
    if (who instanceof Crowd) yield* who.watchers;
    else yield who;
  }
}

/** @throws Error if it is in none */
function leaveCrowd(view: View, watcher: Watcher): Crowd {
  const crowd = view.crowdOf.get(watcher);
  if (crowd === undefined) throw new Error("the watcher is in no crowd");
  view.crowdOf.delete(watcher);
  crowd.watchers.delete(watcher);
  if (crowd.watchers.size > 0) return crowd;
  view.crowds.delete(crowd.names);
  for (const name of crowd.names) unwant(view, name, crowd);
  return crowd;
}
