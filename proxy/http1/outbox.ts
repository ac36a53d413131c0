import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";

import { CHUNK_BYTES, returnChunk, takeChunk } from "../listen/chunks.ts";
import { DirectWriter } from "../listen/direct-writer.ts";
import { atTurnEnd, type Gathering } from "../listen/turn-end.ts";
import { Copy, copyOf } from "./copies.ts";
import { COALESCE_BYTES_MAX } from "./write.ts";

/** How a body is framed on its way out. */
export type Framing = "none" | "length" | "chunked" | "raw";

/** Pieces below this gather as text, which costs less than memory of their own; with larger ones the copies that joining texts takes count. */
const TEXT_BYTES_MAX = 2_048;

/**
 * What is about to be written to a socket. Heads and small pieces gather in one latin1 string, those of middle size with them in one chunk, so that a
 * small message is one write, at the end of the turn; large pieces go out as they are.
 */
export class Outbox implements Gathering {
  framing: Framing = "none";
  /** Bytes of bodies handed over so far, without framing. */
  bodyBytes = 0;

  readonly #socket: Socket;
  readonly #direct: DirectWriter;
  readonly #onUnsent: (() => void) | undefined;
  /** What has gathered: the chunk up to #chunkAt, then the text. Both together have COALESCE_BYTES_MAX and one head at most, or little more. */
  #chunk: Buffer | undefined = undefined;
  #chunkAt = 0;
  #text = "";
  /** Whether the turn's end writes it. */
  #queued = false;

  /** `onUnsent`: called when the kernel didn't take at once what was flushed. */
  constructor(socket: Socket, onUnsent?: () => void) {
    this.#socket = socket;
    this.#onUnsent = onUnsent;
    this.#direct = new DirectWriter(socket);
  }

  /** Bytes that were written and the kernel hasn't taken yet. */
  get unsentBytes(): number {
    return this.#socket.writableLength + this.#direct.unsentBytes;
  }

  head(text: string): void {
    this.#text += text;
  }

  /**
   * A piece of the body. `owned`: the bytes stay as they are after the call; otherwise they are copied. False: the socket has enough, wait
   * for its "drain".
   */
  data(bytes: Buffer, from: number, to: number, owned: boolean): boolean {
    const length = to - from;
    if (length === 0 || this.framing === "none") return true;
    this.bodyBytes += length;
    const chunked = this.framing === "chunked";
    if (chunked) this.#text += `${length.toString(16)}\r\n`;
    if (length + this.#chunkAt + this.#text.length <= COALESCE_BYTES_MAX) {
      if (length < TEXT_BYTES_MAX) this.#text += bytes.toString("latin1", from, to);
      else this.#toChunk(bytes, from, to);
      if (chunked) this.#text += "\r\n";
      return !this.#socket.writableNeedDrain;
    }
    this.#socket.cork();
    this.#writeAll(false);
    if (owned) this.#socket.write(bytes.subarray(from, to));
    else {
      const copy = copyOf(bytes, from, to);
      this.#socket.write(copy.bytes, copy.written);
    }
    if (chunked) this.#socket.write("\r\n", "latin1");
    this.#socket.uncork();
    return !this.#socket.writableNeedDrain;
  }

  #toChunk(bytes: Buffer, from: number, to: number): void {
    const chunk = this.#textToChunk();
    bytes.copy(chunk, this.#chunkAt, from, to);
    this.#chunkAt += to - from;
  }

  #textToChunk(): Buffer {
    this.#chunk ??= takeChunk();
    this.#chunkAt += this.#chunk.write(this.#text, this.#chunkAt, "latin1");
    this.#text = "";
    return this.#chunk;
  }

  /** The body is complete. */
  end(): void {
    if (this.framing === "chunked") this.#text += "0\r\n\r\n";
    this.framing = "none";
  }

  /** What has gathered is to leave at the end of the turn. */
  flush(): void {
    const gathered = this.#chunkAt + this.#text.length;
    if (gathered === 0) return;
    // Answers to what a client sent ahead may be many.
    if (gathered > COALESCE_BYTES_MAX) return this.writeGathered();
    if (this.#queued) return;
    this.#queued = true;
    atTurnEnd(this);
  }

  /** Writes what has gathered, and ends our half of the connection. */
  endSocket(): void {
    this.writeGathered();
    const socket = this.#socket;
    // Ended while it hands over what it has read, a TLS socket of Node's loses all that it has read behind that; so it ends once that is through.
    if (socket instanceof TLSSocket) setImmediate(() => socket.end());
    else socket.end();
  }

  writeGathered(): void {
    this.#queued = false;
    if (this.#text === "" && this.#chunkAt === 0) return;
    this.#writeAll(true);
    if (this.#onUnsent !== undefined && this.unsentBytes > 0) this.#onUnsent();
  }

  /** `direct`: past the stream, if it has nothing to write; otherwise what the stream is given next goes with it. */
  #writeAll(direct: boolean): void {
    if (this.#chunkAt > 0) {
      if (this.#chunkAt + this.#text.length <= CHUNK_BYTES) this.#textToChunk();
      this.#writeChunk(direct);
    }
    const text = this.#text;
    if (text === "") return;
    this.#text = "";
    if (this.#socket.destroyed || (direct && this.#direct.write(text))) return;
    this.#socket.write(text, "latin1");
  }

  #writeChunk(direct: boolean): void {
    const chunk = this.#chunk as Buffer;
    const bytes = chunk.subarray(0, this.#chunkAt);
    this.#chunk = undefined;
    this.#chunkAt = 0;
    if (this.#socket.destroyed) return returnChunk(chunk);
    if (!direct || !this.#direct.writeBytes(bytes)) this.#socket.write(bytes, new Copy(bytes, chunk).written);
    // Otherwise libuv keeps it.
    else if (this.#direct.unsentBytes === 0) returnChunk(chunk);
  }
}
