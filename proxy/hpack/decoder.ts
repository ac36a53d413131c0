import { BROKEN_NAME, BROKEN_VALUE, isName, isValue } from "./faults.ts";
import { DecoderTable } from "./decoder-table.ts";
import { decodedBytesMax, decodeHuffman } from "./huffman-decode.ts";
import { knownNames } from "./known-names.ts";
import { LiteralMemo } from "./literal-memo.ts";
import { ENTRY_OVERHEAD_BYTES, STATIC_LAST, staticNames, staticValues, TABLE_BYTES_INITIAL } from "./static-table.ts";

/** What a message may carry. */
export interface FieldBlockLimits {
  /** Size of all fields (RFC 9113, 6.5.2): bytes of name and value, and 32 for each field. */
  readonly listBytes: number;
  readonly fields: number;
}

/**
 * What came of a block, the worst of it. "compression": a connection error COMPRESSION_ERROR, since the table isn't the peer's any more. "too large": it was
 * decoded to its end, and the table is in step, but what is beyond the limits was dropped. "malformed": fields of which at least one has a name or a value
 * that is none (RFC 9113, 8.2.1).
 */
export type Decoded = "ok" | "malformed" | "too large" | "compression";

/** Integers are at most 2^31 - 1 (RFC 7541, 5.1 wants a limit); no length or index comes near. */
const INTEGER_SHIFT_MAX = 28;
/** Names and values are decoded here one at a time, by all decoders of the worker. */
const SCRATCH_BYTES = 4_096;
let scratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES);

/** Reads the field blocks of one direction of a connection (RFC 7541), all of them and in their order. */
export class HpackDecoder {
  readonly #limits: FieldBlockLimits;
  readonly #table = new DecoderTable(TABLE_BYTES_INITIAL);
  /** Our SETTINGS_HEADER_TABLE_SIZE. */
  readonly #settingBytes: number;
  /** What the peer may make the table. */
  #allowedBytes: number;
  /** Whether the next block has to begin by making the table smaller. */
  #mustResize = false;
  /** Made when there is something for it. */
  #memo: LiteralMemo | undefined = undefined;
  /** Where the next byte of the block is. */
  #at = 0;
  /** What is wrong with the string that was read last, or the field. */
  #faults = 0;

  /** `tableBytes`: our SETTINGS_HEADER_TABLE_SIZE. */
  constructor(tableBytes: number, limits: FieldBlockLimits) {
    this.#limits = limits;
    this.#settingBytes = tableBytes;
    this.#allowedBytes = Math.max(tableBytes, TABLE_BYTES_INITIAL);
  }

  /** The peer has acknowledged our SETTINGS. Before that it may use the initial size, too; if ours is less, its next block says so (RFC 7541, 4.2). */
  onSettingsAck(): void {
    this.#allowedBytes = this.#settingBytes;
    this.#mustResize = this.#table.maxBytes > this.#settingBytes;
  }

  /**
   * Decodes one whole field block, block[from, to). Names and values in turn are appended to `fields` as latin1 strings: those of the tables are the same
   * objects each time, and so are well-known names.
   */
  decode(block: Buffer, from: number, to: number, fields: string[]): Decoded {
    this.#at = from;
    if (!this.#resizeTable(block, to)) return "compression";
    const table = this.#table;
    const { listBytes } = this.#limits;
    let left = this.#limits.fields;
    let bytes = 0;
    let faults = 0;
    let dropped = false;
    let at = this.#at;
    while (at < to) {
      const first = block[at] as number;
      let name: string;
      let value: string;
      if (first > 0x80 && first <= 0x80 + STATIC_LAST) {
        // 6.1: both from a table. Nearly all indexes are in the first byte.
        name = staticNames[first - 0x80] as string;
        value = staticValues[first - 0x80] as string;
        at++;
      } else if (first >= 0x80) {
        let index = first - 0x80;
        if (index < 0x7f) at++;
        else {
          this.#at = at;
          index = this.#integer(block, to, 0x7f);
          at = this.#at;
        }
        const place = table.placeOf(index - STATIC_LAST - 1);
        if (place < 0) return "compression";
        name = table.names[place] as string;
        value = table.values[place] as string;
        faults |= table.faults[place] as number;
      } else {
        // 6.3 stands at the beginning only.
        if ((first & 0xe0) === 0x20) return "compression";
        this.#at = at;
        this.#faults = 0;
        // 6.2: the value, and perhaps the name, as text. Whether it is to go into the table takes two bits more of the first byte.
        const indexes = first >= 0x40;
        const index = this.#integer(block, to, indexes ? 0x3f : 0x0f);
        const named = index === 0 ? this.#newName(block, to) : this.#nameAt(index);
        if (named === undefined) return "compression";
        // What must never be indexed must not be told by the time it takes, either.
        const isRepeatable = first < 0x10 && index > 0 && index <= STATIC_LAST;
        const text = isRepeatable ? this.#repeatable(index, block, to) : this.#text(block, to, isValue, BROKEN_VALUE);
        if (text === undefined) return "compression";
        name = named;
        value = text;
        faults |= this.#faults;
        if (indexes) table.insert(name, value, this.#faults);
        at = this.#at;
      }
      bytes += name.length + value.length + ENTRY_OVERHEAD_BYTES;
      if (bytes > listBytes || --left < 0) dropped = true;
      else fields.push(name, value);
    }
    if (dropped) return "too large";
    return faults === 0 ? "ok" : "malformed";
  }

  /** Reads the changes of the table's size with which a block may begin (RFC 7541, 6.3). False: they are wrong. */
  #resizeTable(block: Buffer, to: number): boolean {
    while (this.#at < to && ((block[this.#at] as number) & 0xe0) === 0x20) {
      const bytes = this.#integer(block, to, 0x1f);
      if (bytes < 0 || bytes > this.#allowedBytes) return false;
      this.#table.resize(bytes);
      this.#mustResize = false;
    }
    return !this.#mustResize;
  }

  /** RFC 7541, 5.1, from the first byte on, of which `prefix` is the integer's part. -1: it doesn't end, or is too large. */
  #integer(block: Buffer, to: number, prefix: number): number {
    let value = (block[this.#at++] as number) & prefix;
    if (value < prefix) return value;
    for (let shift = 0; shift <= INTEGER_SHIFT_MAX && this.#at < to; shift += 7) {
      const byte = block[this.#at++] as number;
      // By multiplication, since a shift would wrap.
      value += (byte & 0x7f) * 2 ** shift;
      if (value > 0x7fff_ffff) return -1;
      if (byte < 0x80) return value;
    }
    return -1;
  }

  #nameAt(index: number): string | undefined {
    if (index <= STATIC_LAST) return index > 0 ? staticNames[index] : undefined;
    const place = this.#table.placeOf(index - STATIC_LAST - 1);
    if (place < 0) return undefined;
    this.#faults |= (this.#table.faults[place] as number) & BROKEN_NAME;
    return this.#table.names[place];
  }

  #newName(block: Buffer, to: number): string | undefined {
    const name = this.#text(block, to, isName, BROKEN_NAME);
    return name === undefined ? undefined : (knownNames.get(name)?.name ?? name);
  }

  /** A value that isn't indexed, of a name of the static table: nearly always there are such because an encoder never indexes them. */
  #repeatable(index: number, block: Buffer, to: number): string | undefined {
    const from = this.#at;
    const end = from < to ? from + 1 + ((block[from] as number) & 0x7f) : to;
    // A length of more than one byte is no matter for the memo.
    if (from >= to || end > to || ((block[from] as number) & 0x7f) === 0x7f) {
      return this.#text(block, to, isValue, BROKEN_VALUE);
    }
    const memo = (this.#memo ??= new LiteralMemo());
    if (memo.find(index, block, from, end)) {
      this.#at = end;
      this.#faults |= memo.faults;
      return memo.value;
    }
    const before = this.#faults;
    this.#faults = 0;
    const text = this.#text(block, to, isValue, BROKEN_VALUE);
    if (text !== undefined) memo.keep(index, block, from, end, text, this.#faults);
    this.#faults |= before;
    return text;
  }

  /** RFC 7541, 5.2: a string, which is checked while it is bytes. Undefined: it doesn't end, or its code is wrong. */
  #text(block: Buffer, to: number, isSound: typeof isName, fault: number): string | undefined {
    if (this.#at >= to) return undefined;
    const isHuffman = (block[this.#at] as number) >= 0x80;
    const length = this.#integer(block, to, 0x7f);
    const from = this.#at;
    if (length < 0 || length > to - from) return undefined;
    this.#at = from + length;
    if (!isHuffman) {
      if (!isSound(block, from, this.#at)) this.#faults |= fault;
      return block.toString("latin1", from, this.#at);
    }
    if (decodedBytesMax(length) > scratch.length) scratch = Buffer.allocUnsafeSlow(2 * decodedBytesMax(length));
    const decoded = decodeHuffman(block, from, this.#at, scratch);
    if (decoded < 0) return undefined;
    if (!isSound(scratch, 0, decoded)) this.#faults |= fault;
    return scratch.toString("latin1", 0, decoded);
  }
}
