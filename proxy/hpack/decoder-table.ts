import { ENTRY_OVERHEAD_BYTES } from "./static-table.ts";

const ROOM_INITIAL = 16;

const texts = (length: number): string[] => Array.from({ length }, () => "");
const numbers = (length: number): number[] => Array.from({ length }, () => 0);

/**
 * The dynamic table of a decoder (RFC 7541, 2.3.2 and 4) as a ring, oldest entries first out. It has room for what is in it, not for what might be: many
 * connections use little of it.
 */
export class DecoderTable {
  /** Entries by place, for reading: placeOf() tells where an index is. */
  names: string[] = texts(ROOM_INITIAL);
  values: string[] = texts(ROOM_INITIAL);
  /** What is wrong with an entry's name and value (see faults.ts): 0 for nothing. */
  faults: number[] = numbers(ROOM_INITIAL);
  length = 0;

  #maxBytes: number;
  #bytes = 0;
  /** Entries inserted so far; the next one's place, but for the mask. */
  #inserted = 0;
  #mask = ROOM_INITIAL - 1;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get maxBytes(): number {
    return this.#maxBytes;
  }

  /** Where the entry is, counted from 0, the newest; -1: there is none. A number below 0 is no index. */
  placeOf(index: number): number {
    return index >= 0 && index < this.length ? (this.#inserted - 1 - index) & this.#mask : -1;
  }

  /** Changes its size; what doesn't fit any more is evicted. */
  resize(maxBytes: number): void {
    this.#maxBytes = maxBytes;
    this.#evictTo(maxBytes);
  }

  /** Adds the entry as the newest; one that is larger than the table only empties it (RFC 7541, 4.4). */
  insert(name: string, value: string, faults: number): void {
    const bytes = name.length + value.length + ENTRY_OVERHEAD_BYTES;
    this.#evictTo(this.#maxBytes - bytes);
    if (bytes > this.#maxBytes) return;
    if (this.length > this.#mask) this.#grow();
    const place = this.#inserted++ & this.#mask;
    this.names[place] = name;
    this.values[place] = value;
    this.faults[place] = faults;
    this.length++;
    this.#bytes += bytes;
  }

  #evictTo(bytes: number): void {
    while (this.#bytes > bytes && this.length > 0) {
      const place = (this.#inserted - this.length) & this.#mask;
      this.#bytes -=
        (this.names[place] as string).length + (this.values[place] as string).length + ENTRY_OVERHEAD_BYTES;
      // Nothing keeps what was evicted.
      this.names[place] = this.values[place] = "";
      this.length--;
    }
  }

  #grow(): void {
    const before = this.#mask;
    const { names, values, faults } = this;
    const room = 2 * (before + 1);
    this.#mask = room - 1;
    this.names = texts(room);
    this.values = texts(room);
    this.faults = numbers(room);
    for (let n = this.#inserted - this.length; n < this.#inserted; n++) {
      this.names[n & this.#mask] = names[n & before] as string;
      this.values[n & this.#mask] = values[n & before] as string;
      this.faults[n & this.#mask] = faults[n & before] as number;
    }
  }
}
