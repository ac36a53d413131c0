import { createServer } from "node:net";

import type { OpenSocket } from "./bind.ts";
import { duplicate } from "./duplicate.ts";
import type { ListeningSocket } from "./listening-sockets.ts";
import type { BindAddress } from "./options.ts";

type Left = BindAddress & OpenSocket;

/**
 * Listening sockets that a former process, or another worker of this one, opened. Whoever accepts on the very same socket loses no connection that waits in its
 * queue, as would happen if it were closed and we opened another one.
 */
export class InheritedSockets {
  #left: Left[];

  /** `sockets`: of a former process, of which nobody else here has a handle. */
  constructor(sockets: readonly ListeningSocket[]) {
    this.#left = [...sockets];
  }

  /** Takes over sockets that another worker is about to close. Rejects if that can't be done. */
  async adopt(sockets: readonly ListeningSocket[]): Promise<void> {
    const handles = await duplicate(sockets.map(({ fd }) => fd));
    for (const [at, handle] of handles.entries()) {
      const { address, port } = sockets[at] as ListeningSocket;
      this.#left.push({ address, port, handle });
    }
  }

  /** The sockets of an address, which are the caller's from now on. */
  take({ address, port }: BindAddress): readonly OpenSocket[] {
    const taken = this.#left.filter((one) => one.address === address && one.port === port);
    this.#left = this.#left.filter((one) => !taken.includes(one));
    return taken;
  }

  /** Those that nobody took, for whoever follows. */
  sockets(): ListeningSocket[] {
    return this.#left.map((one) => ({
      address: one.address,
      port: one.port,
      fd: "fd" in one ? one.fd : one.handle.fd,
    }));
  }

  /**
   * Closes those that nobody took: their listeners are no more. To be called when the whole configuration is in use and not before: a listener
   * that came later would open a socket of its own, and what waits in the queue of the inherited one would be reset.
   */
  closeRest(): void {
    for (const one of this.#left) {
      if ("handle" in one) one.handle.close();
      else {
        const server = createServer();
        server.on("error", () => {}).listen({ fd: one.fd }, () => server.close());
      }
    }
    this.#left = [];
  }
}
