import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";
import { getSystemErrorName } from "node:util";

/** What net.Socket writes with, beneath its stream. */
interface Handle {
  /** 0, or an error's number. `request` is of use only where the kernel does not take all at once. */
  writeLatin1String(request: WriteRequest, text: string): number;
  writeBuffer(request: WriteRequest, bytes: Buffer): number;
  /** Bytes that the kernel has not taken yet. */
  readonly writeQueueSize: number;
}

interface WriteRequest {
  oncomplete?: (status: number) => void;
  /** Keeps what is being written from being collected. */
  buffer?: Buffer;
}

/** Node's own binding of the same: what a request is, and whether the last write went through at once. */
interface StreamWrap {
  readonly WriteWrap: new () => WriteRequest;
  readonly streamBaseState: Int32Array;
  readonly kLastWriteWasAsync: number;
}

const streamWrap = findStreamWrap();
/** Serves one write after the other, until one is not done at once and keeps it. */
let spare: WriteRequest | undefined = streamWrap && new streamWrap.WriteWrap();

/** Undefined in a Node that has it no more. */
function findStreamWrap(): StreamWrap | undefined {
  const { binding } = process as unknown as { binding?: (name: string) => Partial<StreamWrap> };
  const found = binding?.("stream_wrap");
  const isWhole =
    typeof found?.WriteWrap === "function" &&
    found.streamBaseState !== undefined &&
    found.kLastWriteWasAsync !== undefined;
  return isWhole ? (found as StreamWrap) : undefined;
}

/**
 * Writes to a plain socket past its stream: the stream's book-keeping costs as much as the write, and there is nothing to keep books of when the
 * kernel takes all at once, as it nearly always does. What it leaves is queued by libuv, before whatever the stream writes or ends with afterwards.
 */
export class DirectWriter {
  readonly #socket: Socket & { readonly _handle?: Handle | null };
  readonly #enabled: boolean;
  readonly #onTaken: (() => void) | undefined;
  /** What the last write waits for the kernel with; undefined: it went through. */
  #waiting: WriteRequest | undefined = undefined;

  /** `onTaken`: called when the kernel has taken what it left before. */
  constructor(socket: Socket, onTaken?: () => void) {
    this.#socket = socket;
    this.#onTaken = onTaken;
    // TLS has records to make first, and is never done at once.
    this.#enabled = streamWrap !== undefined && !(socket instanceof TLSSocket);
  }

  /** Bytes that the kernel has not taken yet, of which the stream doesn't know. */
  get unsentBytes(): number {
    return this.#waiting === undefined ? 0 : (this.#socket._handle?.writeQueueSize ?? 0);
  }

  /** Writes latin1 text. False: nothing was done, and it is for the stream to write it. */
  write(text: string): boolean {
    const handle = this.#freeHandle();
    // The stream meets the same error, and knows what to do.
    if (handle === undefined || spare === undefined || handle.writeLatin1String(spare, text) !== 0) return false;
    this.#note();
    return true;
  }

  /** Writes bytes, which must stay as they are while there are `unsentBytes`. False: nothing was done, and it is for the stream to write them. */
  writeBytes(bytes: Buffer): boolean {
    const handle = this.#freeHandle();
    if (handle === undefined || spare === undefined || handle.writeBuffer(spare, bytes) !== 0) return false;
    this.#note(bytes);
    return true;
  }

  /** The handle, if nothing waits before what is to be written. */
  #freeHandle(): Handle | undefined {
    const socket = this.#socket;
    if (!this.#enabled || this.#waiting !== undefined || socket.writableLength > 0) return undefined;
    return socket._handle ?? undefined;
  }

  /** Keeps the request if the kernel didn't take all at once. */
  #note(bytes?: Buffer): void {
    if (spare === undefined || streamWrap === undefined) return;
    if (streamWrap.streamBaseState[streamWrap.kLastWriteWasAsync] === 0) return;
    this.#waiting = spare;
    spare.oncomplete = (status) => this.#onComplete(status);
    if (bytes !== undefined) spare.buffer = bytes;
    spare = new streamWrap.WriteWrap();
  }

  #onComplete(status: number): void {
    this.#waiting = undefined;
    if (this.#socket.destroyed) return;
    if (status >= 0) return this.#onTaken?.();
    const code = getSystemErrorName(status);
    this.#socket.destroy(Object.assign(new Error(`write ${code}`), { code }));
  }
}
