import { TOKEN, VALUE } from "./chars.ts";
import { TARGET_BYTES_MAX } from "./request-head.ts";
import { type Violation, violations } from "./violation.ts";

const CR = 0x0d;
const LF = 0x0a;
const INITIAL_BYTES = 1024;
const NO_BYTES = Buffer.alloc(0);
/** Room for method and version beside a target of the largest size. */
const REQUEST_LINE_BYTES_MAX = TARGET_BYTES_MAX + 256;

/**
 * Finds the end of a message's head. Most heads arrive whole and are cut out of the input; one that comes in pieces is collected here, and
 * looked at byte by byte so that garbage is refused at once rather than waited on. Linear in the input whatever the pieces are.
 */
export class HeadReader {
  /** Once read() returned true: where the head is, its empty line included; valid as long as the input is. */
  bytes: Buffer = NO_BYTES;
  from = 0;
  to = 0;
  /** Where the input goes on after the head. */
  next = 0;
  violation: Violation | undefined = undefined;

  readonly #isRequest: boolean;
  #collected: Buffer | undefined = undefined;
  #length = 0;
  #lines = 0;
  /** Whether the empty line before a request that RFC 9112, 2.2 grants has been skipped, or begun. */
  #skipped = 0;

  constructor(isRequest: boolean) {
    this.#isRequest = isRequest;
  }

  /** Whether a part of a head has been read. */
  get started(): boolean {
    return this.#length > 0 || this.#skipped > 0;
  }

  /** Whether a head that began at `from` would be whole, so that it may be parsed where it lies without looking for its end first. */
  mayBeginAt(bytes: Buffer, from: number): boolean {
    return this.#length === 0 && this.#skipped !== 1 && !(this.#isRequest && bytes[from] === CR);
  }

  /** The head that the caller has read without us was one: what was skipped before it no longer counts. */
  wasRead(): void {
    this.#skipped = 0;
  }

  /** Reads bytes[from, to). True: the head is complete; false: more is needed, or there is a violation. */
  read(bytes: Buffer, from: number, to: number, maxBytes: number): boolean {
    if (this.#length > 0 || this.#skipped === 1) return this.#collect(bytes, from, to, maxBytes);
    if (this.#isRequest && this.#skipped === 0 && bytes[from] === CR) return this.#collect(bytes, from, to, maxBytes);
    const end = bytes.indexOf("\r\n\r\n", from, "latin1");
    // Past `to` a shared read buffer holds somebody else's bytes.
    if (end < 0 || end + 4 > to) return this.#collect(bytes, from, to, maxBytes);
    return this.#complete(bytes, from, end + 4, end + 4, maxBytes);
  }

  #complete(bytes: Buffer, from: number, to: number, next: number, maxBytes: number): boolean {
    this.#length = 0;
    this.#lines = 0;
    this.#skipped = 0;
    this.next = next;
    if (to - from > maxBytes) {
      this.violation = violations.headTooLarge;
      return false;
    }
    this.bytes = bytes;
    this.from = from;
    this.to = to;
    this.#collected = undefined;
    return true;
  }

  #collect(bytes: Buffer, from: number, to: number, maxBytes: number): boolean {
    for (let i = from; i < to; i++) {
      const byte = bytes[i] as number;
      if (this.#length === 0 && this.#isRequest && this.#skipped < 2 && (byte === CR || this.#skipped === 1)) {
        if (byte !== (this.#skipped === 0 ? CR : LF)) return this.#refuse(violations.lineEnd);
        this.#skipped++;
        continue;
      }
      this.#append(byte);
      const violation = this.#check(byte);
      if (violation !== undefined) return this.#refuse(violation);
      if (this.#length > maxBytes) return this.#refuse(violations.headTooLarge);
      const collected = this.#collected as Buffer;
      const length = this.#length;
      if (byte === LF && length >= 4 && collected[length - 3] === LF) {
        return this.#complete(collected, 0, length, i + 1, maxBytes);
      }
    }
    return false;
  }

  #append(byte: number): void {
    const length = this.#length++;
    this.#collected ??= Buffer.allocUnsafe(INITIAL_BYTES);
    if (length === this.#collected.length) {
      const larger = Buffer.allocUnsafe(length * 2);
      this.#collected.copy(larger);
      this.#collected = larger;
    }
    this.#collected[length] = byte;
  }

  /** What can be refused before the head is whole. */
  #check(byte: number): Violation | undefined {
    const previous = this.#length > 1 ? (this.#collected as Buffer)[this.#length - 2] : undefined;
    if (byte === LF) {
      if (previous !== CR) return violations.lineEnd;
      this.#lines++;
      return undefined;
    }
    if (previous === CR) return violations.lineEnd;
    if (byte !== CR && VALUE[byte] !== 1) return violations.fieldValue;
    if (this.#lines > 0) return undefined;
    if (this.#length === 1 && !TOKEN[byte]) return violations.startLine;
    if (this.#isRequest && this.#length > REQUEST_LINE_BYTES_MAX) return violations.uriTooLong;
    return undefined;
  }

  #refuse(violation: Violation): false {
    this.violation = violation;
    this.#length = 0;
    return false;
  }
}
