import type { PublishedResource } from "../store/trial-rows.ts";
import type { ResourceCache, ResourceUpdate } from "../xds/cache.ts";
import { versionOf } from "../xds/resource.ts";
import { bodyOf } from "../xds/wire.ts";

/** The resources of a gateway group that differ from what is published: one, the newest, of each name. */
export class HeldUpdates {
  readonly #updates = new Map<string, ResourceUpdate>();
  readonly #group: string;
  readonly #published: Pick<ResourceCache, "resources">;

  constructor(group: string, published: Pick<ResourceCache, "resources">) {
    this.#group = group;
    this.#published = published;
  }

  get size(): number {
    return this.#updates.size;
  }

  values(): readonly ResourceUpdate[] {
    return [...this.#updates.values()];
  }

  /** What is published under the names that are held. */
  published(): readonly PublishedResource[] {
    return this.values().map(({ typeUrl, name }) => {
      const cached = this.#published.resources(this.#group, typeUrl)?.get(name);
      return { typeUrl, name, bytes: cached === undefined ? null : bodyOf(cached) };
    });
  }

  has({ typeUrl, name }: ResourceUpdate): boolean {
    return this.#updates.has(`${typeUrl} ${name}`);
  }

  /** Takes newer updates; those that are as published are no longer held. @returns whether anything is held otherwise than before */
  merge(updates: readonly ResourceUpdate[]): boolean {
    let changed = false;
    for (const update of updates) {
      const key = `${update.typeUrl} ${update.name}`;
      const before = this.#updates.get(key);
      if (this.#isPublished(update)) changed = this.#updates.delete(key) || changed;
      else if (before === undefined || versionIn(before) !== versionIn(update)) {
        this.#updates.set(key, update);
        changed = true;
      }
    }
    return changed;
  }

  #isPublished(update: ResourceUpdate): boolean {
    return this.#published.resources(this.#group, update.typeUrl)?.get(update.name)?.version === versionIn(update);
  }
}

const versionIn = ({ bytes }: ResourceUpdate) => (bytes === null ? undefined : versionOf(bytes));
