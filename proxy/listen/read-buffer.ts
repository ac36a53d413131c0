import { Socket } from "node:net";

const READ_BYTES = 65_536;

/**
 * One buffer for all connections of the worker: libuv asks for it, reads into it and calls back without anything between, and nobody
 * keeps it. TLS decrypts into it likewise, record by record: only while its connection is read, and never amid a write (but an empty one).
 */
export const readBuffer: Buffer = Buffer.allocUnsafeSlow(READ_BYTES);

/** How net.Socket keeps the `onread` that it was made with. */
interface Internals {
  readonly kBuffer: symbol;
  readonly kBufferCb: symbol;
}

interface Handle {
  useUserBuffer?(buffer: Buffer): void;
}

/**
 * `onread` is there for sockets that one makes, and what net.createServer() accepts is made by Node. Without it Node allocates 64 KiB for each
 * read, shrinks them, and passes them through a stream: a seventh of what a request costs. What it sets can be set later; undefined in a Node that
 * does it otherwise.
 */
const internals: Internals | undefined = findInternals(new Socket());

function findInternals(socket: Socket): Internals | undefined {
  const symbols = Object.getOwnPropertySymbols(socket);
  const named = (name: string) => symbols.find(({ description }) => description === name);
  const kBuffer = named("kBuffer");
  const kBufferCb = named("kBufferCb");
  return kBuffer && kBufferCb && { kBuffer, kBufferCb };
}

/**
 * From now on a socket that is open, and whose stream holds nothing, reads into {@link readBuffer} and tells how many bytes there are; it has no
 * further "data" events, all else is as before. False: it can't be done, and nothing has changed.
 */
export function readInto(socket: Socket, onRead: (length: number) => void): boolean {
  const { _handle: handle } = socket as unknown as { readonly _handle?: Handle | null };
  if (
    internals === undefined ||
    socket.isPaused() ||
    socket.readableLength > 0 ||
    typeof handle?.useUserBuffer !== "function"
  )
    return false;
  const fields = socket as unknown as Record<symbol, unknown>;
  fields[internals.kBuffer] = readBuffer;
  fields[internals.kBufferCb] = (length: number): boolean => {
    onRead(length);
    return true;
  };
  handle.useUserBuffer(readBuffer);
  return true;
}
