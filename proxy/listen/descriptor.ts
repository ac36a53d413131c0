import type { Server } from "node:net";

/** The file descriptor of a listening socket; -1: it is closed. Node has no public way to it, though it takes one in listen({ fd }). */
export const descriptorOf = (server: Server): number =>
  (server as unknown as { _handle: { fd: number } | null })._handle?.fd ?? -1;
