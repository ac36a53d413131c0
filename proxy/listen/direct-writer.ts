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
  /** Beneath TLS, the connection's own. */
  readonly _parent?: { readonly writeQueueSize?: number };
}

interface WriteRequest {
  oncomplete?: (this: WriteRequest, status: number) => void;
  /** Whom it tells. */
  writer?: DirectWriter;
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
 * Writes to a socket past its stream: the stream's book-keeping costs as much as the write, and there is nothing to keep books of when the
 * kernel takes all at once, as it nearly always does. What it leaves is queued by libuv, before whatever the stream writes or ends with afterwards.
 *
 * TLS is done with a write in the next turn only, and takes no other until then: whatever the stream writes or ends with meanwhile waits (see
 * {@link holdStream}).
 */
export class DirectWriter {
  readonly #socket: Socket & { readonly _handle?: Handle | null };
  readonly #isTls: boolean;
  readonly #onTaken: (() => void) | undefined;
  /** What the last write waits for the kernel, or for TLS, with; undefined: it went through. */
  #waiting: WriteRequest | undefined = undefined;
  /** Whether the kernel left some of it. */
  #isLeft = false;
  /** What serves one TLS write after the other. */
  #own: WriteRequest | undefined = undefined;
  /** What the stream wants done next. */
  #held: (() => void) | undefined = undefined;

  /** `onTaken`: called when the kernel has taken what it left before. */
  constructor(socket: Socket, onTaken?: () => void) {
    this.#socket = socket;
    this.#onTaken = onTaken;
    this.#isTls = socket instanceof TLSSocket;
    if (this.#isTls && streamWrap !== undefined) holdStream(socket, (next) => this.#hold(next));
  }

  /** Bytes that the kernel has not taken yet, of which the stream doesn't know. */
  get unsentBytes(): number {
    if (this.#waiting === undefined) return 0;
    const { _handle: handle } = this.#socket;
    return (this.#isTls ? handle?._parent : handle)?.writeQueueSize ?? 0;
  }

  /** Writes latin1 text. False: nothing was done, and it is for the stream to write it. */
  write(text: string): boolean {
    const handle = this.#freeHandle();
    const request = this.#request();
    // The stream meets the same error, and knows what to do.
    if (handle === undefined || request === undefined || handle.writeLatin1String(request, text) !== 0) return false;
    this.#note(request);
    return true;
  }

  /** Writes bytes, which must stay as they are while there are `unsentBytes`. False: nothing was done, and it is for the stream to write them. */
  writeBytes(bytes: Buffer): boolean {
    const handle = this.#freeHandle();
    const request = this.#request();
    if (handle === undefined || request === undefined || handle.writeBuffer(request, bytes) !== 0) return false;
    this.#note(request, bytes);
    return true;
  }

  /** The handle, if nothing waits before what is to be written. */
  #freeHandle(): Handle | undefined {
    const socket = this.#socket;
    if (this.#waiting !== undefined || socket.writableLength > 0) return undefined;
    return socket._handle ?? undefined;
  }

  #request(): WriteRequest | undefined {
    if (!this.#isTls || streamWrap === undefined) return spare;
    return (this.#own ??= Object.assign(new streamWrap.WriteWrap(), { oncomplete, writer: this }));
  }

  /** Keeps the request if the kernel didn't take all at once; TLS never says so at once. */
  #note(request: WriteRequest, bytes?: Buffer): void {
    if (this.#isTls) {
      this.#waiting = request;
      this.#isLeft = this.unsentBytes > 0;
      return;
    }
    if (streamWrap === undefined || streamWrap.streamBaseState[streamWrap.kLastWriteWasAsync] === 0) return;
    this.#waiting = request;
    this.#isLeft = true;
    request.oncomplete = oncomplete;
    request.writer = this;
    if (bytes !== undefined) request.buffer = bytes;
    spare = new streamWrap.WriteWrap();
  }

  /** Has the stream wait for what is being written. */
  #hold(next: () => void): void {
    if (this.#waiting === undefined) next();
    else this.#held = next;
  }

  /** @internal The kernel has taken all of the last write, or there was an error. */
  completed(status: number): void {
    this.#waiting = undefined;
    const held = this.#held;
    this.#held = undefined;
    if (this.#socket.destroyed) return;
    if (status < 0) {
      const code = getSystemErrorName(status);
      this.#socket.destroy(Object.assign(new Error(`write ${code}`), { code }));
      return;
    }
    const onTaken = this.#isLeft ? this.#onTaken : undefined;
    if (held === undefined && onTaken === undefined) return;
    // The request is free again only once this call is over.
    this.#own = undefined;
    held?.();
    onTaken?.();
  }
}

function oncomplete(this: WriteRequest, status: number): void {
  this.writer?.completed(status);
}

/** What net.Socket gives its stream to write with. */
interface StreamMethods {
  _write: (chunk: unknown, encoding: BufferEncoding, done: Done) => void;
  _writev?: ((chunks: unknown[], done: Done) => void) | undefined;
  _final: (done: Done) => void;
}

type Done = (error?: Error | null) => void;

/** Has all that a socket's stream does with its handle go through `hold`, which does it at once or later. */
function holdStream(socket: Socket, hold: (next: () => void) => void): void {
  const stream = socket as unknown as StreamMethods;
  const { _write, _writev, _final } = stream;
  stream._write = (chunk, encoding, done) => hold(() => _write.call(stream, chunk, encoding, done));
  if (_writev !== undefined) stream._writev = (chunks, done) => hold(() => _writev.call(stream, chunks, done));
  stream._final = (done) => hold(() => _final.call(stream, done));
}
