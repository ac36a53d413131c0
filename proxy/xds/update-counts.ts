import type { ResourceType } from "#proto/resource-types.ts";

import type { ResourceUpdate } from "./graph.ts";

interface Counts {
  /** Responses taken whole, and those of which something was refused. */
  accepted: number;
  rejected: number;
  /** Resources put to use for the first time, in another version, and taken away. */
  added: number;
  modified: number;
  removed: number;
}

/** Counts what the control plane sent and what became of it, for the statistics. */
export class UpdateCounts {
  readonly #byType = new Map<string, Counts>();
  /** Names in use, by type. */
  readonly #known = new Map<string, Set<string>>();

  /** The counts of a type so far. */
  of({ typeUrl }: Pick<ResourceType, "typeUrl">): Counts {
    let counts = this.#byType.get(typeUrl);
    if (counts === undefined) {
      counts = { accepted: 0, rejected: 0, added: 0, modified: 0, removed: 0 };
      this.#byType.set(typeUrl, counts);
    }
    return counts;
  }

  /** A response was answered. */
  answered(type: ResourceType, whole: boolean): void {
    const counts = this.of(type);
    if (whole) counts.accepted++;
    else counts.rejected++;
  }

  /** Resources come into use, or go. */
  applied(updates: readonly ResourceUpdate[]): void {
    for (const { typeUrl, name, resource } of updates) {
      const counts = this.of({ typeUrl });
      const known = this.#namesOf(typeUrl);
      if (resource === null) {
        counts.removed++;
        known.delete(name);
      } else if (known.has(name)) counts.modified++;
      else {
        counts.added++;
        known.add(name);
      }
    }
  }

  #namesOf(typeUrl: string): Set<string> {
    let names = this.#known.get(typeUrl);
    if (names === undefined) this.#known.set(typeUrl, (names = new Set()));
    return names;
  }
}
