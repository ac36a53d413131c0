import { randomBytes } from "node:crypto";

import { AddressCounts, addressCountsMemory } from "./listen/address-counts.ts";
import { ConnectionCounts, connectionCountsMemory } from "./listen/connection-counts.ts";
import { CHANGE_DRAIN_MS, WORKERS_MAX } from "./options.ts";
import { Places, type WorkerLife } from "./worker-life.ts";
import { shareOf } from "./worker-sockets.ts";
import { startThread } from "./worker-thread.ts";
import type { WorkersOptions } from "./workers-options.ts";

/** Workers that there can be at once, with those that drain. */
const PLACES = WORKERS_MAX + 64;

/** A key for session tickets is used for so long; then clients shake hands in full once. */
const TICKET_KEY_MS = 12 * 3600_000;

/** Starts workers, and keeps what they share: the memory in which connections are counted, and the key for session tickets. */
export class WorkerStarter {
  readonly #options: WorkersOptions;
  readonly #places = new Places();
  readonly #connections = connectionCountsMemory(PLACES);
  readonly #counts = new ConnectionCounts(this.#connections, 0);
  readonly #addresses = addressCountsMemory(PLACES);
  readonly #addressCounts = new AddressCounts(this.#addresses, 0);
  /** The positions in which a worker was started. */
  readonly #started = new Set<number>();
  #ticketKey: Uint8Array;
  readonly #ticketTimer: NodeJS.Timeout;

  /** `onTicketKey` is told of each further key, for the workers that there are. */
  constructor(options: WorkersOptions, onTicketKey: (key: Uint8Array) => void) {
    this.#options = options;
    this.#ticketKey = options.inherited?.ticketKey ?? randomBytes(48);
    this.#ticketTimer = setInterval(() => {
      this.#ticketKey = randomBytes(48);
      onTicketKey(this.#ticketKey);
    }, TICKET_KEY_MS);
    this.#ticketTimer.unref();
  }

  /** The key that workers make session tickets with. Secret. */
  get ticketKey(): Uint8Array {
    return this.#ticketKey;
  }

  /** Whether so many more can be started: places are free. */
  hasRoomFor(workers: number): boolean {
    return this.#places.size + workers <= PLACES;
  }

  /** Starts a worker for a position among the workers; nobody has looked at what it says yet. */
  start(position: number): WorkerLife {
    const { inherited, node, connectionsMax = 0, count } = this.#options;
    // Each socket of a former process goes to one worker, and only to the first in its position.
    const sockets = this.#started.has(position) ? [] : (inherited?.sockets ?? []);
    this.#started.add(position);
    const place = this.#places.take();
    const worker = startThread({
      drainTimeMs: CHANGE_DRAIN_MS,
      node,
      place,
      connections: this.#connections,
      addresses: this.#addresses,
      connectionsMax,
      ticketKey: this.#ticketKey,
      inherited: shareOf(sockets, position, count),
    });
    return {
      ...{ place, worker, sent: 0, applied: 0, listening: false },
      ...{ crash: undefined, isReplaced: false, draining: false },
    };
  }

  /** Makes no further keys. */
  close(): void {
    clearInterval(this.#ticketTimer);
  }

  /** A worker is gone, with all of its connections. */
  ended({ place }: WorkerLife): void {
    this.#options.stats.forget(place);
    this.#counts.forget(place);
    this.#addressCounts.forget(place);
    this.#places.giveBack(place);
  }
}
