import { createServer, type Server, type Socket } from "node:net";

import type { BindAddress } from "./options.ts";

/** An address that cannot be listened on; the message says which and why. */
export class ListenError extends Error {
  override readonly name = "ListenError";
}

/** How often an address that is taken is tried again, and after how many ms first; the wait doubles. About three seconds in all. */
const TRIES_MAX = 6;
const RETRY_MS_FIRST = 50;

/** What Node makes of a socket that was sent to this thread; a server that listens with it closes it. */
export interface NativeHandle {
  readonly fd: number;
  close(): void;
}

/** A listening socket that is open already: a descriptor that is ours from now on, or a handle. */
export type OpenSocket = { readonly fd: number } | { readonly handle: NativeHandle };

/** What to listen with. */
export interface BindOptions {
  /** For messages. */
  readonly name: string;
  readonly backlog: number;
  /** Whether other workers listen on the same port. */
  readonly reusePort: boolean;
  /** An open listening socket for the address, which a former process or another worker left us. */
  readonly socket?: OpenSocket | undefined;
  /** Whether to try again when the address is taken: somebody may be about to leave it. */
  readonly patient: boolean;
}

/** Listens on an address. Rejects with ListenError. */
export async function bind(at: BindAddress, options: BindOptions, onSocket: (socket: Socket) => void): Promise<Server> {
  for (let attempt = 1, waitMs = RETRY_MS_FIRST; ; attempt++, waitMs *= 2) {
    // A client may end its half after its last request and still read the answer.
    const server = createServer({ allowHalfOpen: true, noDelay: true }, onSocket);
    try {
      await listen(server, at, options);
      return server;
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      if (code === "EADDRINUSE" && options.patient && attempt < TRIES_MAX) {
        await new Promise((resolve) => setTimeout(resolve, waitMs));
        continue;
      }
      const why = code === "EADDRINUSE" ? "the port is taken" : message;
      throw new ListenError(`listener ${options.name}: cannot listen on ${at.address}:${at.port}: ${why}`, {
        cause: error,
      });
    }
  }
}

function listen(server: Server, at: BindAddress, { backlog, reusePort, socket }: BindOptions) {
  return new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    const listening = () => {
      server.off("error", reject);
      // Accepting can fail for a moment, as when the process has no descriptor left; the listener goes on.
      server.on("error", () => {});
      resolve();
    };
    if (socket === undefined) {
      server.listen({ host: at.address, port: at.port, backlog, ...(reusePort && { reusePort }) }, listening);
    } else if ("fd" in socket) server.listen({ fd: socket.fd, backlog }, listening);
    else server.listen(socket.handle, backlog, listening);
  });
}
