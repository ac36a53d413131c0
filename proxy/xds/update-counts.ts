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
  readonly #known = new Set<string>();

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
    for (const { typeUrl, name, bytes } of updates) {
      const counts = this.of({ typeUrl });
      const key = `${typeUrl} ${name}`;
      if (bytes === null) {
        counts.removed++;
        this.#known.delete(key);
      } else if (this.#known.has(key)) counts.modified++;
      else {
        counts.added++;
        this.#known.add(key);
      }
    }
  }
}
