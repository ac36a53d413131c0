import type { Socket } from "node:net";

import { addressWithPort, type Peer } from "../filters/record.ts";
import type { TicketKeys } from "../tls/secret.ts";
import { ListenError } from "./bind.ts";
import { Chain } from "./chain.ts";
import type { ConnectionFacts } from "./chain-match.ts";
import { clientGroup } from "./client-group.ts";
import type { ConnectionCounter, ConnectionCounts } from "./connection-counts.ts";
import type { AddressStats, Runtime } from "./context.ts";
import type { Crowd } from "./crowd.ts";
import { addressStatsOf, countConnection } from "./count-connection.ts";
import { type Inspected, Inspector, NOT_INSPECTED } from "./inspector.ts";
import { KeyedCounts, keyedCountsMemory } from "./keyed-counts.ts";
import { type ListeningSocket, ListeningSockets, type SocketSource } from "./listening-sockets.ts";
import type { ConnectionLimit, FilterChainOptions, ListenerOptions } from "./options.ts";
import { Timer, timers } from "./timers.ts";

export { ListenError };

/** What a listener works with. */
export interface ListenContext extends SocketSource {
  readonly runtime: Runtime;
  /** The key for session tickets that all workers have at the moment; without one each listener has its own. */
  readonly ticketKeys?: () => TicketKeys | undefined;
  /** All open connections, counted with those of the other workers; without it there is no limit of the whole proxy. */
  readonly counts?: ConnectionCounts;
  /** Open connections against the limits of listeners and filter chains, likewise; without it they hold for this listener alone. */
  readonly limitCounts?: KeyedCounts;
  /** Open connections by client, likewise: in a table of their own, which clients may fill. */
  readonly addressCounts?: KeyedCounts;
  /** Keeps connections spread over the workers. */
  readonly crowd?: Crowd;
  /** Open connections of all workers together at most; what is above is closed. */
  readonly connectionsMax?: number;
  /** Whether the proxy was told to fail health checks, so that clients go elsewhere. */
  readonly healthFailed?: () => boolean;
}

/** What a connection too many is counted as. */
type Overflow = "downstream_cx_overflow" | "downstream_global_cx_overflow";

/** A listener that accepts connections. */
export interface RunningListener {
  /** The port it is bound to; of interest when port 0 was asked for. */
  readonly port: number;
  /** The open sockets that it listens on, for a process that follows. */
  sockets(): readonly ListeningSocket[];
  /** Listens as well with the sockets that were left to us since it was opened (`inherited`). Rejects with ListenError. */
  adopt(): Promise<void>;
  /**
   * New options for the same addresses. Filter chains that stay as they are keep their connections; those of chains that changed or are gone end
   * after their response, within so many ms.
   */
  update(options: ListenerOptions, drainTimeMs: number): void;
  /** To be called when `healthFailed` says something else than before. */
  healthChanged(): void;
  /**
   * Accepts what waits and then no more, closes idle connections, and has the others close after their response. Resolves when none is left, or after so many
   * ms, when the rest is cut off.
   */
  drain(timeMs: number): Promise<void>;
  /** Stops at once. */
  close(): Promise<void>;
}

/** How long a connection that came just before a listener ended may take to say what it is: most do within a round trip. */
const LAST_INSPECTIONS_MS_MAX = 5_000;

/** Binds a listener and serves its connections. Rejects with ListenError if an address can't be bound. */
export async function startListener(options: ListenerOptions, context: ListenContext): Promise<RunningListener> {
  const listener = new TcpListener(options, context);
  await listener.open();
  return listener;
}

class TcpListener implements RunningListener {
  readonly #context: ListenContext;
  readonly #sockets: ListeningSockets;
  #options: ListenerOptions;
  /** By their ids. */
  #chains: ReadonlyMap<string, Chain> = new Map();
  readonly #draining = new Set<Promise<void>>();
  readonly #leaving = new Set<Chain>();
  readonly #inspecting = new Set<Socket>();
  /** Called when one of them is through. */
  #onInspected: (() => void) | undefined = undefined;
  readonly #limits: KeyedCounts;
  readonly #addresses: KeyedCounts;
  readonly #all: ConnectionCounter | undefined;
  #port = 0;

  constructor(options: ListenerOptions, context: ListenContext) {
    this.#options = options;
    this.#context = context;
    this.#sockets = new ListeningSockets(options, context, (socket) => this.#accept(socket));
    this.#limits = context.limitCounts ?? new KeyedCounts(keyedCountsMemory(1), 0);
    this.#addresses = context.addressCounts ?? new KeyedCounts(keyedCountsMemory(1), 0);
    this.#all = context.counts?.counter("all");
  }

  get port(): number {
    return this.#port;
  }

  async open(): Promise<void> {
    // First, for those that come while further sockets are being opened.
    this.#port = this.#options.port;
    this.#takeChains(0);
    this.#port = await this.#sockets.open();
    for (const chain of this.#chains.values()) chain.port = this.#port;
  }

  sockets(): readonly ListeningSocket[] {
    return this.#sockets.list();
  }

  adopt(): Promise<void> {
    return this.#sockets.adopt();
  }

  update(options: ListenerOptions, drainTimeMs: number): void {
    this.#options = options;
    this.#takeChains(drainTimeMs);
  }

  healthChanged(): void {
    const away = this.#options.drainsWithHealth === true && this.#context.healthFailed?.() === true;
    for (const chain of this.#chains.values()) chain.sendAway(away);
  }

  async drain(timeMs: number): Promise<void> {
    const chains = [...this.#chains.values()];
    const draining = chains.map((chain) => chain.drain(timeMs));
    const { closed } = await this.#sockets.closeWhenQuiet();
    await this.#finishInspections(Math.min(timeMs, LAST_INSPECTIONS_MS_MAX));
    await Promise.all([
      closed,
      ...this.#draining,
      ...draining,
      // For those that came until it was quiet, or were through only now.
      ...chains.map((chain) => chain.drain(timeMs)),
    ]);
  }

  async close(): Promise<void> {
    const closed = this.#sockets.close();
    for (const socket of this.#inspecting) socket.destroy();
    for (const chain of [...this.#chains.values(), ...this.#leaving]) chain.destroy();
    await closed;
  }

  /** Resolves when no connection is being looked at any more, at the latest after so many ms, when the rest is closed. */
  #finishInspections(timeMs: number): Promise<void> {
    if (this.#inspecting.size === 0) return Promise.resolve();
    const closeAll = () => {
      for (const socket of this.#inspecting) socket.destroy();
    };
    const cutOff = new Timer({ onTimer: closeAll }, 0);
    timers.schedule(cutOff, timeMs);
    return new Promise((resolve) => {
      this.#onInspected = () => {
        if (this.#inspecting.size > 0) return;
        timers.cancel(cutOff);
        resolve();
      };
    });
  }

  /** Makes chains that are new, keeps those that are the same, and lets the others drain. */
  #takeChains(drainTimeMs: number): void {
    const { runtime, crowd, ticketKeys = () => undefined } = this.#context;
    const chains = new Map<string, Chain>();
    const { table } = this.#options;
    for (const options of this.#options.chains) {
      const chain =
        this.#chains.get(options.id) ?? new Chain(options, { runtime, port: this.#port, crowd, ticketKeys });
      // Chains that drain keep what they had: their successors, of other ids, are no other place.
      chain.misdirects = table && ((host) => isForAnother(table, options.id, host));
      chains.set(options.id, chain);
    }
    for (const [id, chain] of this.#chains) if (!chains.has(id)) this.#retire(chain, drainTimeMs);
    this.#chains = chains;
    this.healthChanged();
  }

  #retire(chain: Chain, drainTimeMs: number): void {
    this.#leaving.add(chain);
    const drained = chain.drain(drainTimeMs).finally(() => {
      this.#leaving.delete(chain);
      this.#draining.delete(drained);
    });
    this.#draining.add(drained);
  }

  #accept(socket: Socket): void {
    if (!this.#countAll(socket)) return;
    const { name, connectionsMax, inspection } = this.#options;
    if (!this.#count(socket, this.#limits, `listener ${name}`, connectionsMax)) return;
    // Behind a PROXY header is another client than the peer.
    if (inspection?.proxyProtocol === undefined && !this.#countClient(socket, socket.remoteAddress)) return;
    if (inspection === undefined) return this.#choose(socket, NOT_INSPECTED);
    this.#inspecting.add(socket);
    new Inspector(socket, inspection, (found) => {
      this.#inspecting.delete(socket);
      if (found !== undefined) {
        const client = found.source?.sourceAddress ?? socket.remoteAddress;
        if (inspection.proxyProtocol === undefined || this.#countClient(socket, client)) this.#choose(socket, found);
      }
      this.#onInspected?.();
    });
  }

  #choose(socket: Socket, found: Inspected): void {
    const { chains, table, defaultChain } = this.#options;
    const options = table === undefined ? chains[0] : (table.find(factsOf(socket, found)) ?? defaultChain);
    const chain = options && this.#chains.get(options.id);
    const stats = this.#statsOf(socket);
    if (chain === undefined) {
      stats.no_filter_chain_match.inc();
      socket.destroy();
      return;
    }
    // As in Envoy, a connection counts from here on.
    countConnection(socket, stats);
    const { id, connectionLimits = [] } = chain.options;
    const own = `${this.#options.name} ${id}`;
    if (!connectionLimits.every((limit, at) => this.#limit(socket, limit, `${own} ${at}`))) return;
    chain.accept(socket, found.serverName, found.source && peerFrom(found.source), stats);
  }

  /** A connection_limit filter: false if it closes the connection. */
  #limit(socket: Socket, { connectionsMax, statPrefix }: ConnectionLimit, key: string): boolean {
    const stats = this.#context.runtime.stats.connectionLimit(statPrefix);
    stats.active_connections.inc();
    socket.once("close", () => stats.active_connections.dec());
    const release = this.#limits.take(key, connectionsMax);
    if (release !== undefined) {
      socket.once("close", release);
      return true;
    }
    stats.limited_connections.inc();
    socket.destroy();
    return false;
  }

  #statsOf(socket: Socket): AddressStats {
    const { stats } = this.#context.runtime;
    const { statPrefix = "" } = this.#options;
    return statPrefix === "" ? addressStatsOf(socket, this.#port, stats) : stats.address(statPrefix);
  }

  /** Counts a connection against the limit of the whole proxy, as long as it is open; false: there are too many, and it is closed. */
  #countAll(socket: Socket): boolean {
    const all = this.#all;
    if (all === undefined) return true;
    if (!all.take(this.#context.connectionsMax ?? Number.POSITIVE_INFINITY)) {
      return this.#refuse(socket, "downstream_global_cx_overflow");
    }
    socket.once("close", () => all.release());
    return true;
  }

  /** The same against a limit of the listener, if there is one. */
  #count(socket: Socket, counts: KeyedCounts, key: string, max: number | undefined): boolean {
    if (max === undefined) return true;
    const release = counts.take(key, max);
    if (release === undefined) return this.#refuse(socket, "downstream_cx_overflow");
    socket.once("close", release);
    return true;
  }

  #refuse(socket: Socket, overflow: Overflow): false {
    // A socket that is destroyed does not know its address any more.
    this.#statsOf(socket)[overflow].inc();
    socket.destroy();
    return false;
  }

  /** The same for the connections of one client; what headers of requests say does not matter. */
  #countClient(socket: Socket, address = ""): boolean {
    const { name, connectionsPerAddressMax } = this.#options;
    const client = connectionsPerAddressMax === undefined ? undefined : clientGroup(address);
    return client === undefined || this.#count(socket, this.#addresses, `${client} ${name}`, connectionsPerAddressMax);
  }
}

/** Whether TLS's server_name would lead a client that asks for this host to another chain than the one it is on. */
function isForAnother(table: NonNullable<ListenerOptions["table"]>, id: string, host: string): boolean {
  const named = table.chainNamed(host.toLowerCase());
  return named !== undefined && !named.some((one: FilterChainOptions) => one.id === id);
}

function factsOf(
  socket: Socket,
  { source, transportProtocol, serverName, applicationProtocols }: Inspected,
): ConnectionFacts {
  const direct = socket.remoteAddress ?? "";
  return {
    destinationAddress: source?.destinationAddress ?? socket.localAddress ?? "",
    destinationPort: source?.destinationPort ?? socket.localPort ?? 0,
    serverName,
    transportProtocol,
    applicationProtocols,
    directSourceAddress: direct,
    sourceAddress: source?.sourceAddress ?? direct,
    sourcePort: source?.sourcePort ?? socket.remotePort ?? 0,
  };
}

const peerFrom = (source: NonNullable<Inspected["source"]>): Peer => ({
  downstreamLocalAddress: addressWithPort(source.destinationAddress, source.destinationPort),
  downstreamRemoteAddress: source.sourceAddress,
  downstreamRemotePort: source.sourcePort,
});
