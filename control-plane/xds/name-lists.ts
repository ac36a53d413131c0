import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";

/** Shorter lists are read faster than they are looked up, and are not what data planes begin with. */
const BYTES_MIN = 256;
/** Lists that are remembered, and what they may come to together. */
const LISTS_MAX = 16;
const BYTES_MAX = 16 * 1024 * 1024;

/** The names that a request lists. */
export interface NameList {
  readonly names: readonly string[];
  /** The same, if other requests may have listed just these; it never changes. */
  readonly set: ReadonlySet<string> | undefined;
}

interface Known extends NameList {
  readonly bytes: Uint8Array;
}

const none: NameList = { names: [], set: undefined };

/**
 * The long lists of names in requests. Data planes that are alike name the same thousands of resources, to the byte: such a list is found again by
 * comparing its bytes, without making strings of them, and all who sent it share one set of names.
 */
export class NameLists {
  readonly #field: number;
  readonly #decode: (bytes: Uint8Array) => readonly string[];
  /** The one used last at the end. */
  #known: Known[] = [];
  #bytes = 0;

  /**
   * @param field the number of the repeated string
   * @param decode reads a message that has nothing but this field
   */
  constructor(field: number, decode: (bytes: Uint8Array) => readonly string[]) {
    this.#field = field;
    this.#decode = decode;
  }

  /**
   * Cuts the first run of names out of a request, if it is long.
   *
   * @returns the names, and the message without them
   * @throws Error on bytes that are no message
   */
  cut(bytes: Uint8Array): { readonly list: NameList; readonly rest: Uint8Array } {
    if (bytes.length < BYTES_MIN) return { list: none, rest: bytes };
    const message = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    const reader = new BinaryReader(message);
    while (reader.pos < reader.len) {
      const start = reader.pos;
      const [field, type] = reader.tag();
      if (field === this.#field && type === WireType.LengthDelimited) return this.#cutAt(message, start);
      reader.skip(type, field);
    }
    return { list: none, rest: bytes };
  }

  #cutAt(message: Buffer, start: number) {
    const known = this.#known.find(({ bytes }) => this.#isRun(message, start, bytes));
    if (known !== undefined) {
      if (known !== this.#known.at(-1)) this.#known = [...this.#known.filter((each) => each !== known), known];
      return { list: known, rest: without(message, start, start + known.bytes.length) };
    }
    const end = this.#endOfRun(message, start);
    if (end - start < BYTES_MIN) return { list: none, rest: message };
    // A copy: the message is part of what was read from the network.
    const bytes = new Uint8Array(message.subarray(start, end));
    const names = this.#decode(bytes);
    const list = { names, set: new Set(names), bytes };
    if (bytes.length <= BYTES_MAX) this.#remember(list);
    return { list, rest: without(message, start, end) };
  }

  /** Whether these bytes stand there and no further name behind them. */
  #isRun(message: Buffer, start: number, bytes: Uint8Array): boolean {
    const end = start + bytes.length;
    if (end > message.length || message.compare(bytes, 0, bytes.length, start, end) !== 0) return false;
    return end === message.length || this.#endOfRun(message, end) === end;
  }

  #endOfRun(message: Buffer, start: number): number {
    const reader = new BinaryReader(message.subarray(start));
    let end = start;
    while (reader.pos < reader.len) {
      const [field, type] = reader.tag();
      if (field !== this.#field || type !== WireType.LengthDelimited) break;
      reader.skip(type, field);
      end = start + reader.pos;
    }
    return end;
  }

  #remember(list: Known): void {
    this.#known.push(list);
    this.#bytes += list.bytes.length;
    while (this.#known.length > LISTS_MAX || this.#bytes > BYTES_MAX) {
      this.#bytes -= this.#known.shift()?.bytes.length ?? 0;
    }
  }
}

const without = (message: Buffer, start: number, end: number): Uint8Array =>
  Buffer.concat([message.subarray(0, start), message.subarray(end)]);
