import type { Server } from "node:net";
import { performance } from "node:perf_hooks";

/** How long a queue that never becomes empty may hold up the end of its listener. */
const QUIET_MS_MAX = 1_000;

/**
 * Stops listening, after a whole turn of the event loop in which no connection came, at the latest after a second: closing a listening socket
 * resets whatever waits in its queue, and libuv takes no more than one connection out of it per turn. Resolves when nothing is accepted any
 * more; `closed` when no connection is left.
 */
export function closeWhenQuiet(server: Server): Promise<{ readonly closed: Promise<void> }> {
  const latest = performance.now() + QUIET_MS_MAX;
  let accepted = true;
  server.on("connection", () => {
    accepted = true;
  });
  return new Promise((resolve) => {
    // Immediates run right after the sockets were looked at.
    const look = () => {
      if (accepted && server.listening && performance.now() < latest) {
        accepted = false;
        setImmediate(look);
        return;
      }
      // It calls back with an error if somebody else has closed it, which is as good.
      resolve({ closed: new Promise((done) => server.close(() => done())) });
    };
    setImmediate(look);
  });
}
