/** Bytes of a value as it was written; a longer one is decoded each time. */
const BYTES_MAX = 64;
/** Names of the static table share these places. */
const PLACES = 16;

/**
 * Values that a peer writes out each time though they are the same: encoders that never index a path or a date (nghttp2, nginx) are common. The last one of
 * a name is found by its bytes, which costs a tenth of decoding it, and is then the same string each time.
 */
export class LiteralMemo {
  /** The value that find() found, and what is wrong with it (see faults.ts). */
  value = "";
  faults = 0;

  readonly #bytes = new Uint8Array(PLACES * BYTES_MAX);
  /** Of each place: the name's index and the length, as one number; -1: it is empty. */
  readonly #keys = new Int32Array(PLACES).fill(-1);
  readonly #values: string[] = Array.from({ length: PLACES }, () => "");
  readonly #faults = new Uint8Array(PLACES);

  /** Whether the value whose length and text are at bytes[from, to) is the one that came last with the name of this index. */
  find(index: number, bytes: Uint8Array, from: number, to: number): boolean {
    const place = index % PLACES;
    if (this.#keys[place] !== keyOf(index, to - from)) return false;
    const kept = this.#bytes;
    for (let at = from, i = place * BYTES_MAX; at < to; at++, i++) if (bytes[at] !== kept[i]) return false;
    this.value = this.#values[place] as string;
    this.faults = this.#faults[place] as number;
    return true;
  }

  /** Remembers what bytes[from, to) are. */
  keep(index: number, bytes: Uint8Array, from: number, to: number, value: string, faults: number): void {
    if (to - from > BYTES_MAX) return;
    const place = index % PLACES;
    this.#keys[place] = keyOf(index, to - from);
    for (let at = from, i = place * BYTES_MAX; at < to; at++, i++) this.#bytes[i] = bytes[at] as number;
    this.#values[place] = value;
    this.#faults[place] = faults;
  }
}

const keyOf = (index: number, length: number): number => (index << 16) | length;
