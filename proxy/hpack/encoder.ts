import { EncoderTable } from "./encoder-table.ts";
import { huffmanBytes, writeHuffman } from "./huffman-encode.ts";
import type { NameRecord } from "./name-record.ts";
import { ENTRY_OVERHEAD_BYTES, TABLE_BYTES_INITIAL } from "./static-table.ts";

/** The first byte of each representation, and the part of it that is for the integer (RFC 7541, 6). */
const INDEXED = 0x80;
const INDEXED_PREFIX = 0x7f;
const INCREMENTAL = 0x40;
const INCREMENTAL_PREFIX = 0x3f;
const NOT_INDEXED = 0x00;
const NEVER_INDEXED = 0x10;
const LITERAL_PREFIX = 0x0f;
const RESIZE = 0x20;
const RESIZE_PREFIX = 0x1f;
const HUFFMAN = 0x80;
const TEXT_PREFIX = 0x7f;

/** The first byte and two lengths, of which each has at most five bytes more. */
const FIELD_BOUND_BYTES = 16;
const RESIZES_BOUND_BYTES = 16;

/** Fields at the same place of the message before are mostly the same; so many places are remembered. */
const PLACES_MAX = 48;

/** What was at a place of a message, and which entry it has. */
interface Place {
  name: string;
  value: string;
  record: NameRecord;
  /** The entry's number; below 0: the index in the static table, negated. */
  number: number;
}

/** Writes the field blocks of one direction of a connection (RFC 7541). */
export class HpackEncoder {
  /** What the table may have at most, whatever the peer allows. */
  readonly #ownBytes: number;
  readonly #table: EncoderTable;
  readonly #places: Place[] = [];
  /** The smallest size since the last block, which the next one tells; undefined: the size is what the peer thinks. */
  #lowestBytes: number | undefined = undefined;

  /** `tableBytes`: what the table may have at most, whatever the peer allows. */
  constructor(tableBytes: number) {
    this.#ownBytes = tableBytes;
    this.#table = new EncoderTable(Math.min(tableBytes, TABLE_BYTES_INITIAL));
    if (tableBytes < TABLE_BYTES_INITIAL) this.#lowestBytes = tableBytes;
  }

  /** The peer's SETTINGS_HEADER_TABLE_SIZE; the next block says so (RFC 7541, 4.2 and 6.3). */
  setPeerTableBytes(bytes: number): void {
    const next = Math.min(bytes, this.#ownBytes);
    if (next === this.#table.maxBytes) return;
    this.#lowestBytes = Math.min(next, this.#lowestBytes ?? next);
    this.#table.resize(next);
  }

  /** No block of these fields is longer than this. */
  boundOf(fields: readonly string[]): number {
    let bytes = RESIZES_BOUND_BYTES + (fields.length / 2) * FIELD_BOUND_BYTES;
    for (const text of fields) bytes += text.length;
    return bytes;
  }

  /** Writes the block of the fields (names and values in turn, latin1) at `start`, where there is room for boundOf(); returns its end. */
  encode(fields: readonly string[], into: Buffer, start: number): number {
    let at = start;
    if (this.#lowestBytes !== undefined) at = this.#writeResizes(this.#lowestBytes, into, at);
    const places = this.#places;
    for (let i = 0; i < fields.length; i += 2) {
      const name = fields[i] as string;
      const value = fields[i + 1] as string;
      const place = places[i >> 1];
      let index = 0;
      if (place !== undefined && place.value === value && place.name === name) index = this.#indexAgain(place);
      if (index === 0) {
        const record = this.#table.recordOf(name);
        index = this.#indexOf(record, value, i >> 1);
        if (index === 0) {
          at = this.#writeLiteral(record, value, into, at);
          continue;
        }
      }
      if (index < INDEXED_PREFIX) into[at++] = INDEXED | index;
      else at = writeInteger(INDEXED, INDEXED_PREFIX, index, into, at);
    }
    return at;
  }

  /** The index of the field that was at the place before; 0: its entry is gone. */
  #indexAgain({ number, record }: Place): number {
    if (number < 0) return -number;
    if (number < this.#table.oldest) return 0;
    record.onUsed();
    return this.#table.indexOf(number);
  }

  /** The index of a field that one of the tables has; 0: none has. */
  #indexOf(record: NameRecord, value: string, place: number): number {
    const { staticIndex, staticValues, secretBelowBytes } = record.known;
    for (let i = 0; i < staticValues.length; i++) {
      if (staticValues[i] === value) return this.#remember(place, record, value, -(staticIndex + i));
    }
    if (value.length < secretBelowBytes) return 0;
    const number = record.use(value);
    return number < 0 ? 0 : this.#remember(place, record, value, number);
  }

  /** Returns the index. */
  #remember(at: number, record: NameRecord, value: string, number: number): number {
    const { name } = record.known;
    const places = this.#places;
    if (at < PLACES_MAX) {
      // Before it may be some that are never indexed.
      while (places.length <= at) places.push({ name: "", value: "", record, number: 0 });
      const place = places[at] as Place;
      place.name = name;
      place.value = value;
      place.record = record;
      place.number = number;
    }
    return number < 0 ? -number : this.#table.indexOf(number);
  }

  #writeLiteral(record: NameRecord, value: string, into: Buffer, at: number): number {
    const { name, staticIndex, secretBelowBytes } = record.known;
    const table = this.#table;
    const nameIndex = staticIndex > 0 || record.isEmpty ? staticIndex : table.indexOf(record.newest);
    if (value.length < secretBelowBytes) {
      return this.#writeStrings(NEVER_INDEXED, LITERAL_PREFIX, nameIndex, name, value, into, at);
    }
    const bytes = name.length + value.length + ENTRY_OVERHEAD_BYTES;
    // One large value would push out what a whole message refers to.
    if (bytes > table.maxBytes / 4 || !record.affordsEntry()) {
      return this.#writeStrings(NOT_INDEXED, LITERAL_PREFIX, nameIndex, name, value, into, at);
    }
    table.insert(record, value);
    return this.#writeStrings(INCREMENTAL, INCREMENTAL_PREFIX, nameIndex, name, value, into, at);
  }

  #writeStrings(
    kind: number,
    prefix: number,
    nameIndex: number,
    name: string,
    value: string,
    into: Buffer,
    start: number,
  ): number {
    let at = writeInteger(kind, prefix, nameIndex, into, start);
    if (nameIndex === 0) at = writeCoded(name, into, at);
    // Huffman's code takes ten times as long as a copy, which pays for what is written once, and referred to from then on.
    return kind === INCREMENTAL ? writeCoded(value, into, at) : writePlain(value, into, at);
  }

  #writeResizes(lowestBytes: number, into: Buffer, start: number): number {
    const { maxBytes } = this.#table;
    this.#lowestBytes = undefined;
    const at = lowestBytes < maxBytes ? writeInteger(RESIZE, RESIZE_PREFIX, lowestBytes, into, start) : start;
    return writeInteger(RESIZE, RESIZE_PREFIX, maxBytes, into, at);
  }
}

/** RFC 7541, 5.1: an integer behind the bits of `kind`. */
function writeInteger(kind: number, prefix: number, value: number, into: Buffer, start: number): number {
  let at = start;
  if (value < prefix) {
    into[at++] = kind | value;
    return at;
  }
  into[at++] = kind | prefix;
  let rest = value - prefix;
  for (; rest >= 0x80; rest >>>= 7) into[at++] = (rest & 0x7f) | 0x80;
  into[at++] = rest;
  return at;
}

/** RFC 7541, 5.2: a string, in Huffman's code where that is shorter. */
function writeCoded(text: string, into: Buffer, start: number): number {
  const coded = huffmanBytes(text);
  if (coded >= text.length) return writePlain(text, into, start);
  return writeHuffman(text, into, writeInteger(HUFFMAN, TEXT_PREFIX, coded, into, start));
}

function writePlain(text: string, into: Buffer, start: number): number {
  const { length } = text;
  const at = writeInteger(0, TEXT_PREFIX, length, into, start);
  into.write(text, at, length, "latin1");
  return at + length;
}
