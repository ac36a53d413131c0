import { createServer } from "node:net";

import type { ListeningSocket } from "./listener.ts";
import type { BindAddress } from "./options.ts";

/**
 * Listening sockets that a former process opened. Whoever accepts on the very same socket loses no connection that waits in its queue,
 * as would happen if the former process closed its own and we opened another one.
 */
export class InheritedSockets {
  #left: ListeningSocket[];

  constructor(sockets: readonly ListeningSocket[]) {
    this.#left = [...sockets];
  }

  /** The sockets of an address, which are the caller's from now on. */
  take({ address, port }: BindAddress): readonly number[] {
    const taken = this.#left.filter((one) => one.address === address && one.port === port);
    this.#left = this.#left.filter((one) => !taken.includes(one));
    return taken.map(({ fd }) => fd);
  }

  /**
   * Closes those that nobody took: their listeners are no more. To be called when the whole configuration is in use and not before: a listener
   * that came later would open a socket of its own, and what waits in the queue of the inherited one would be reset.
   */
  closeRest(): void {
    for (const { fd } of this.#left) {
      const server = createServer();
      server.on("error", () => {}).listen({ fd }, () => server.close());
    }
    this.#left = [];
  }
}
