import { Journal, type JournalEntry } from "./journal.ts";
import { saveSnapshot, type StoredResource } from "./snapshot.ts";

/** A journal is replaced by a new snapshot when it is as large as the snapshot, and at least so large. */
const JOURNAL_BYTES_MIN = 1024 * 1024;

export interface SnapshotKeeperOptions {
  readonly file: string;
  /** The gateway group that the configuration is of. */
  readonly group: string;
  /** Everything in use at the moment of the call; it may be read later. */
  readonly all: () => Iterable<StoredResource>;
  /** One resource, if it is in use. */
  readonly find: (typeUrl: string, name: string) => StoredResource | undefined;
}

/**
 * Keeps the configuration on disk: a snapshot of everything, and beside it a journal of what has changed since. The first write after a start is a
 * snapshot; after that a write costs what changed, until the journal has grown as large as the snapshot, so that in the long run everything is
 * written once for each time that as much has changed.
 */
export class SnapshotKeeper {
  readonly #options: SnapshotKeeperOptions;
  /** Names that have changed since the last write, by type; while a snapshot is to be written, none is needed. */
  #changed = new Map<string, Set<string>>();
  #journal: Journal | undefined;
  #isWriting = false;
  #journalBytesMax = 0;

  constructor(options: SnapshotKeeperOptions) {
    this.#options = options;
  }

  /** These resources are different from now on, or gone. */
  changed(resources: readonly { readonly typeUrl: string; readonly name: string }[]): void {
    if (this.#journal === undefined && !this.#isWriting) return;
    for (const { typeUrl, name } of resources) {
      const names = this.#changed.get(typeUrl);
      if (names === undefined) this.#changed.set(typeUrl, new Set([name]));
      else names.add(name);
    }
  }

  /** Writes what is not written yet. Not to be called again before it is done. If it fails, the next call writes everything. */
  async write(): Promise<void> {
    this.#isWriting = true;
    const changed = this.#changed;
    this.#changed = new Map();
    const journal = this.#journal;
    this.#journal = undefined;
    try {
      if (journal === undefined || journal.size > this.#journalBytesMax) this.#journal = await this.#begin();
      else {
        await journal.append(this.#entriesOf(changed));
        this.#journal = journal;
      }
    } finally {
      this.#isWriting = false;
    }
  }

  async #begin(): Promise<Journal> {
    const { file, group, all } = this.#options;
    const { sha256, size } = await saveSnapshot(file, group, all());
    this.#journalBytesMax = Math.max(size, JOURNAL_BYTES_MIN);
    return await Journal.begin(file, sha256);
  }

  #entriesOf(changed: ReadonlyMap<string, ReadonlySet<string>>): JournalEntry[] {
    const { find } = this.#options;
    return Array.from(changed, ([typeUrl, names]) =>
      Array.from(names, (name): JournalEntry => find(typeUrl, name) ?? { typeUrl, name, bytes: null }),
    ).flat();
  }
}
