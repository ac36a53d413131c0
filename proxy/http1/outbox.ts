import type { Socket } from "node:net";

import { atTurnEnd, type Gathering } from "../listen/turn-end.ts";
import { copyOf } from "./copies.ts";
import { DirectWriter } from "./direct-writer.ts";
import { COALESCE_BYTES_MAX } from "./write.ts";

/** How a body is framed on its way out. */
export type Framing = "none" | "length" | "chunked" | "raw";

/**
 * What is about to be written to a socket. Heads and small pieces gather in one latin1 string, so that a small message is one write, at the end of the
 * turn; large pieces go out as they are.
 */
export class Outbox implements Gathering {
  framing: Framing = "none";
  /** Bytes of bodies handed over so far, without framing. */
  bodyBytes = 0;

  readonly #socket: Socket;
  readonly #direct: DirectWriter;
  readonly #onUnsent: (() => void) | undefined;
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
    if (length + this.#text.length <= COALESCE_BYTES_MAX) {
      this.#text += bytes.toString("latin1", from, to);
      if (chunked) this.#text += "\r\n";
      return !this.#socket.writableNeedDrain;
    }
    this.#socket.cork();
    if (this.#text !== "") this.#socket.write(this.#takeText(), "latin1");
    if (owned) this.#socket.write(bytes.subarray(from, to));
    else {
      const copy = copyOf(bytes, from, to);
      this.#socket.write(copy.bytes, copy.written);
    }
    if (chunked) this.#socket.write("\r\n", "latin1");
    this.#socket.uncork();
    return !this.#socket.writableNeedDrain;
  }

  /** The body is complete. */
  end(): void {
    if (this.framing === "chunked") this.#text += "0\r\n\r\n";
    this.framing = "none";
  }

  /** What has gathered is to leave at the end of the turn. */
  flush(): void {
    if (this.#text === "") return;
    // Answers to what a client sent ahead may be many.
    if (this.#text.length > COALESCE_BYTES_MAX) return this.writeGathered();
    if (this.#queued) return;
    this.#queued = true;
    atTurnEnd(this);
  }

  /** Writes what has gathered, and ends our half of the connection. */
  endSocket(): void {
    this.writeGathered();
    this.#socket.end();
  }

  writeGathered(): void {
    this.#queued = false;
    if (this.#text === "") return;
    const text = this.#takeText();
    if (this.#socket.destroyed) return;
    if (!this.#direct.write(text)) this.#socket.write(text, "latin1");
    if (this.#onUnsent !== undefined && this.unsentBytes > 0) this.#onUnsent();
  }

  #takeText(): string {
    const text = this.#text;
    this.#text = "";
    return text;
  }
}
