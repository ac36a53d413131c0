import { type KnownName, knownNames } from "./known-names.ts";
import { NameRecord } from "./name-record.ts";
import { ENTRY_OVERHEAD_BYTES, STATIC_LAST } from "./static-table.ts";

interface Entry {
  readonly record: NameRecord;
  readonly bytes: number;
}

/** The dynamic table of an encoder (RFC 7541, 2.3.2 and 4): found by name and value, evicted by age. */
export class EncoderTable {
  /** Records of well-known names that were written, and of others as long as they have entries. */
  readonly #records = new Map<string, NameRecord>();
  /** Entries, oldest first from #oldest on; what is before it is gone. */
  #entries: Entry[] = [];
  #oldest = 0;
  /** How many entries were dropped from the front of #entries. */
  #dropped = 0;
  #bytes = 0;
  #maxBytes: number;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get maxBytes(): number {
    return this.#maxBytes;
  }

  resize(maxBytes: number): void {
    this.#maxBytes = maxBytes;
    this.#evictTo(maxBytes);
  }

  recordOf(name: string): NameRecord {
    const found = this.#records.get(name);
    if (found !== undefined) return found;
    const known = knownNames.get(name);
    if (known === undefined) return new NameRecord(unknown(name));
    const record = new NameRecord(known);
    this.#records.set(known.name, record);
    return record;
  }

  /** The number of the oldest entry; those with lower ones are gone. */
  get oldest(): number {
    return this.#dropped + this.#oldest;
  }

  /** The index of an entry by its number. */
  indexOf(number: number): number {
    return STATIC_LAST + this.#dropped + this.#entries.length - number;
  }

  /** Adds an entry, for which there has to be room once the table is empty. */
  insert(record: NameRecord, value: string): void {
    const { name } = record.known;
    const bytes = name.length + value.length + ENTRY_OVERHEAD_BYTES;
    this.#evictTo(this.#maxBytes - bytes);
    if (record.isEmpty) this.#records.set(name, record);
    record.onInserted(value, this.#dropped + this.#entries.length);
    this.#entries.push({ record, bytes });
    this.#bytes += bytes;
  }

  #evictTo(bytes: number): void {
    while (this.#bytes > bytes) {
      const { record, bytes: freed } = this.#entries[this.#oldest++] as Entry;
      this.#bytes -= freed;
      record.onEvicted();
      if (record.isEmpty && !knownNames.has(record.known.name)) this.#records.delete(record.known.name);
    }
    if (this.#oldest <= this.#entries.length / 2) return;
    // Once for as many entries as are left: moving them costs little by the entry.
    this.#dropped += this.#oldest;
    this.#entries = this.#entries.slice(this.#oldest);
    this.#oldest = 0;
  }
}

const unknown = (name: string): KnownName => ({
  name,
  staticIndex: 0,
  staticValues: [],
  secretBelowBytes: 0,
  isFickle: false,
});
