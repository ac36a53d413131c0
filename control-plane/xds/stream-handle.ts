/**
 * HTTP/2 streams beneath their surface: what node:http2 and node:stream do around a read and a write costs more than both, and a change goes to a
 * thousand streams at once. A Node that is built otherwise is noticed, and the stream then does the work.
 */
import type { ServerHttp2Stream } from "node:http2";
import { Socket } from "node:net";

/** What an Http2Stream reads and writes with. */
interface Handle {
  /** 0, or an error's number. The request is told when the bytes have left for the network; they must not change until then. */
  writev(request: WriteRequest, pieces: readonly Uint8Array[], allBuffers: true): number;
  writeBuffer(request: WriteRequest, bytes: Uint8Array): number;
  useUserBuffer(buffer: Buffer): void;
}

interface WriteRequest {
  oncomplete?: (status: number) => void;
  /** Keeps the memory of what is being written. */
  pieces?: readonly Uint8Array[] | undefined;
}

/** Node's own names for these things. */
interface Internals {
  readonly kBuffer: symbol;
  readonly kBufferCb: symbol;
  readonly kBufferGen: symbol;
  readonly WriteWrap: new () => WriteRequest;
}

const symbolOf = (object: object, name: string): symbol | undefined =>
  Object.getOwnPropertySymbols(object).find(({ description }) => description === name);

const internals = findInternals(new Socket());
/** By which a stream has its handle; found with the first of them. */
let kHandle: symbol | undefined;

/** Undefined in a Node that does it otherwise. */
function findInternals(socket: Socket): Internals | undefined {
  const kBuffer = symbolOf(socket, "kBuffer");
  const kBufferCb = symbolOf(socket, "kBufferCb");
  const kBufferGen = symbolOf(socket, "kBufferGen");
  const { binding } = process as unknown as { binding?: (name: string) => { WriteWrap?: Internals["WriteWrap"] } };
  const WriteWrap = binding?.("stream_wrap").WriteWrap;
  if (kBuffer === undefined || kBufferCb === undefined || kBufferGen === undefined) return undefined;
  return typeof WriteWrap === "function" ? { kBuffer, kBufferCb, kBufferGen, WriteWrap } : undefined;
}

const READ_BYTES = 65_536;

/** All streams read into it, one after the other; whoever keeps anything of it makes a copy. */
const readBuffer: Buffer = Buffer.allocUnsafeSlow(READ_BYTES);

/** Views of the read buffer, made once: what most clients say most of the time is short. */
const views: (Buffer | undefined)[] = [];
const VIEWED_BYTES_MAX = 256;

/** The first bytes of the read buffer. */
function viewOf(length: number): Buffer {
  if (length > VIEWED_BYTES_MAX) return readBuffer.subarray(0, length);
  return (views[length] ??= readBuffer.subarray(0, length));
}

/** Reads and writes of one stream. */
export class StreamHandle {
  readonly #stream: ServerHttp2Stream & Record<symbol, unknown>;
  readonly #internals: Internals;
  /** Serves one write after the other. */
  #idle: WriteRequest | undefined;
  #sent: (() => void) | undefined;

  private constructor(stream: ServerHttp2Stream & Record<symbol, unknown>, found: Internals) {
    this.#stream = stream;
    this.#internals = found;
  }

  /** Undefined where Node is not as it is known here. */
  static of(stream: ServerHttp2Stream): StreamHandle | undefined {
    kHandle ??= symbolOf(stream, "kHandle");
    const open = stream as ServerHttp2Stream & Record<symbol, unknown>;
    if (internals === undefined || kHandle === undefined) return undefined;
    const handle = open[kHandle] as Partial<Handle> | undefined;
    const isKnown =
      typeof handle?.writev === "function" &&
      typeof handle.writeBuffer === "function" &&
      typeof handle.useUserBuffer === "function";
    return isKnown ? new StreamHandle(open, internals) : undefined;
  }

  /** From now on what comes is told here. @param onRead the bytes are gone when it returns */
  read(onRead: (bytes: Buffer) => void): void {
    const { kBuffer, kBufferCb, kBufferGen } = this.#internals;
    this.#stream[kBuffer] = readBuffer;
    // One that makes further buffers; null, as sockets have it, is none.
    this.#stream[kBufferGen] = null;
    this.#stream[kBufferCb] = (length: number): boolean => {
      onRead(viewOf(length));
      return true;
    };
    this.#handle?.useUserBuffer(readBuffer);
    // What came together with the head is in the stream already, and goes before whatever is yet to come. This also has it begin to read.
    this.#stream.on("data", onRead);
  }

  /**
   * Writes pieces one behind the other, which must not change any more. There is one write at a time.
   * @param sent is called when they have left for the network, and never if the stream ends before
   * @returns false: nothing was done, and it is for the stream to write them
   */
  write(pieces: readonly Uint8Array[], sent: () => void): boolean {
    const handle = this.#handle;
    if (handle === undefined || this.#sent !== undefined || this.#stream.writableLength > 0) return false;
    const request = this.#idle ?? this.#newRequest();
    this.#idle = undefined;
    const [first] = pieces;
    const error =
      pieces.length === 1 && first !== undefined
        ? handle.writeBuffer(request, first)
        : handle.writev(request, pieces, true);
    // The stream meets the same error, and knows what to do.
    if (error !== 0) return false;
    request.pieces = pieces;
    this.#sent = sent;
    return true;
  }

  get #handle(): Handle | undefined {
    // It goes when the stream is destroyed.
    return kHandle === undefined ? undefined : (this.#stream[kHandle] as Handle | undefined);
  }

  #newRequest(): WriteRequest {
    const request = new this.#internals.WriteWrap();
    request.oncomplete = (status) => {
      const sent = this.#sent;
      this.#sent = undefined;
      request.pieces = undefined;
      if (status >= 0) sent?.();
      // Not before: Node lets go of the request when this returns.
      this.#idle ??= request;
    };
    return request;
  }
}
