import type { AddressInfo, Server, Socket } from "node:net";

import { bind, type OpenSocket } from "./bind.ts";
import { closeWhenQuiet } from "./close-when-quiet.ts";
import { descriptorOf } from "./descriptor.ts";
import type { BindAddress, ListenerOptions } from "./options.ts";

/** An open listening socket. */
export interface ListeningSocket extends BindAddress {
  /** The file descriptor. */
  readonly fd: number;
}

/** Where sockets come from. */
export interface SocketSource {
  /** Whether other workers listen on the same port. */
  readonly reusePort?: boolean;
  /** The listening sockets that a former process or another worker left us, each given once. */
  readonly inherited?: (address: BindAddress) => readonly OpenSocket[];
}

/**
 * How many sockets a worker listens with on each address that it shares with others. libuv accepts one connection from each in a turn of the event loop, and with
 * a thousand busy connections a turn takes a tenth of a second: of a thousand clients that came at once the last waited for five seconds, connected as far as
 * they knew. The kernel deals connections out to all sockets of an address.
 */
export const SOCKETS_PER_ADDRESS = 32;

/** The sockets of one listener, on all of its addresses. */
export class ListeningSockets {
  readonly #options: Pick<ListenerOptions, "name" | "backlog">;
  readonly #addresses: readonly BindAddress[];
  readonly #source: SocketSource;
  readonly #onSocket: (socket: Socket) => void;
  readonly #servers: { readonly server: Server; readonly at: BindAddress }[] = [];

  /** `options`: of the listener, whose name and addresses stay what they are. */
  constructor(options: ListenerOptions, source: SocketSource, onSocket: (socket: Socket) => void) {
    const { address, port, additionalAddresses = [] } = options;
    this.#options = options;
    this.#addresses = [{ address, port }, ...additionalAddresses];
    this.#source = source;
    this.#onSocket = onSocket;
  }

  /** Begins to accept. Returns the port of the first address. Rejects with ListenError, with nothing left open, if an address can't be had. */
  async open(): Promise<number> {
    const { reusePort = false, inherited } = this.#source;
    let first: number | undefined;
    try {
      for (const address of this.#addresses) {
        const open = inherited?.(address) ?? [];
        const sockets = Math.max(open.length, reusePort ? SOCKETS_PER_ADDRESS : 1);
        let at = address;
        // Where any port would do, that of the first.
        for (let i = 0; i < sockets; i++) at = await this.#listen(at, open[i]);
        first ??= at.port;
      }
    } catch (error) {
      for (const { server } of this.#servers) server.close();
      throw error;
    }
    if (first === undefined) throw new Error(`listener ${this.#options.name}: it has no socket`);
    return first;
  }

  /** Accepts as well on the sockets that were left to us since. Rejects with ListenError. */
  async adopt(): Promise<void> {
    for (const address of this.#addresses) {
      for (const socket of this.#source.inherited?.(address) ?? []) await this.#listen(address, socket);
    }
  }

  /** Those that are open. */
  list(): ListeningSocket[] {
    return this.#servers.flatMap(({ server, at }) => {
      const fd = descriptorOf(server);
      return fd < 0 ? [] : [{ address: at.address, port: at.port, fd }];
    });
  }

  /** Accepts what waits. Resolves when nothing is accepted any more; `closed` when no connection is left. */
  async closeWhenQuiet(): Promise<{ readonly closed: Promise<unknown> }> {
    const closing = await Promise.all(this.#servers.map(({ server }) => closeWhenQuiet(server)));
    return { closed: Promise.all(closing.map(({ closed }) => closed)) };
  }

  /** Stops accepting at once; resolves when no connection is left. */
  async close(): Promise<void> {
    const open = this.#servers.filter(({ server }) => server.listening);
    await Promise.all(open.map(({ server }) => new Promise<void>((done) => server.close(() => done()))));
  }

  /** Listens with one more socket. Returns the address that it is bound to. */
  async #listen(at: BindAddress, socket: OpenSocket | undefined): Promise<BindAddress> {
    const { name, backlog } = this.#options;
    const { reusePort = false } = this.#source;
    const server = await bind(at, { name, backlog, reusePort, socket, patient: reusePort }, this.#onSocket);
    const bound = { address: at.address, port: (server.address() as AddressInfo).port };
    this.#servers.push({ server, at: bound });
    return bound;
  }
}
