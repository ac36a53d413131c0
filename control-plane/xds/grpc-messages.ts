/** gRPC's framing of messages in an HTTP/2 stream (gRPC over HTTP2, "Length-Prefixed-Message"). */

const PREFIX_BYTES = 5;

/** A message longer than it may be. */
export class MessageTooLarge extends Error {}

/** A message as it came: what is compressed is left so. */
export interface FramedMessage {
  readonly isCompressed: boolean;
  readonly bytes: Buffer;
}

/** Puts the messages of a stream together from the pieces in which they come. */
export class MessageReader {
  /** Of one message, without its prefix. */
  readonly bytesMax: number;
  #pieces: Buffer[] = [];
  #size = 0;
  /** From how many bytes on there is something new to see. */
  #wanted = PREFIX_BYTES;

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }

  /** Bytes of a message that is not complete; 0 between two. */
  get heldBytes(): number {
    return this.#size;
  }

  /** The messages that are complete with this piece; what is not taken comes with the next one, even an empty one. @throws MessageTooLarge */
  *read(piece: Buffer): Iterable<FramedMessage> {
    if (piece.length > 0) this.#pieces.push(piece);
    this.#size += piece.length;
    while (this.#size >= this.#wanted) {
      const [first] = this.#pieces;
      const all = first !== undefined && this.#pieces.length === 1 ? first : Buffer.concat(this.#pieces);
      const length = all.readUInt32BE(1);
      if (length > this.bytesMax) {
        throw new MessageTooLarge(`a message of ${length} bytes is larger than ${this.bytesMax}`);
      }
      const end = PREFIX_BYTES + length;
      this.#keep(all.subarray(all.length < end ? 0 : end));
      if (all.length < end) {
        this.#wanted = end;
        return;
      }
      this.#wanted = PREFIX_BYTES;
      yield { isCompressed: all[0] !== 0, bytes: all.subarray(PREFIX_BYTES, end) };
    }
  }

  #keep(rest: Buffer): void {
    this.#pieces = rest.length === 0 ? [] : [rest];
    this.#size = rest.length;
  }
}

/** The message, uncompressed and no longer than it may be, that bytes are, with nothing before or behind it; undefined if they are anything else. */
export function soleMessage(bytes: Buffer, bytesMax: number): Buffer | undefined {
  const length = bytes.length - PREFIX_BYTES;
  if (length < 0 || length > bytesMax || bytes[0] !== 0 || bytes.readUInt32BE(1) !== length) return undefined;
  return bytes.subarray(PREFIX_BYTES);
}

/** What goes before the bytes of an uncompressed message. */
export function messagePrefix(length: number): Buffer {
  const prefix = Buffer.allocUnsafe(PREFIX_BYTES);
  writePrefix(prefix, length);
  return prefix;
}

/** An uncompressed message with its prefix. @param length of all pieces together */
export function joinedMessage(pieces: readonly Uint8Array[], length: number): Buffer {
  const message = Buffer.allocUnsafe(PREFIX_BYTES + length);
  writePrefix(message, length);
  let at = PREFIX_BYTES;
  for (const piece of pieces) {
    message.set(piece, at);
    at += piece.length;
  }
  return message;
}

function writePrefix(out: Buffer, length: number): void {
  out[0] = 0;
  out.writeUInt32BE(length, 1);
}
