import { randomBytes } from "node:crypto";
import type { Worker } from "node:worker_threads";

import { ConnectionCounts, connectionCountsMemory } from "./listen/connection-counts.ts";
import { KeyedCounts, keyedCountsMemory } from "./listen/keyed-counts.ts";
import { CHANGE_DRAIN_MS, WORKERS_MAX } from "./options.ts";
import { Places, type WorkerLife } from "./worker-life.ts";
import { shareOf } from "./worker-sockets.ts";
import { startThread } from "./worker-thread.ts";
import type { WorkersOptions } from "./workers-options.ts";

/** Workers that there can be at once, with those that drain. */
const PLACES = WORKERS_MAX + 64;

/** A key for session tickets is used for so long; then clients shake hands in full once. */
const TICKET_KEY_MS = 12 * 3600_000;

/** When it is tried again to start a worker that could not be started. */
export const START_AGAIN_MS = 5_000;

/** Starts workers, and keeps what they share: the memory in which connections are counted, and the key for session tickets. */
export class WorkerStarter {
  readonly #options: WorkersOptions;
  readonly #places = new Places();
  readonly #connections = connectionCountsMemory(PLACES);
  readonly #counts = new ConnectionCounts(this.#connections, 0);
  readonly #limits = keyedCountsMemory(PLACES);
  readonly #limitCounts = new KeyedCounts(this.#limits, 0);
  readonly #addresses = keyedCountsMemory(PLACES);
  readonly #addressCounts = new KeyedCounts(this.#addresses, 0);
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

  /** Starts a worker for a position among the workers; nobody has looked at what it says yet. Throws where the system gives no further thread. */
  start(position: number): WorkerLife {
    const { inherited, node, connectionsMax = 0, count } = this.#options;
    // Each socket of a former process goes to one worker, and only to the first in its position.
    const sockets = this.#started.has(position) ? [] : (inherited?.sockets ?? []);
    const place = this.#places.take();
    let worker: Worker;
    try {
      worker = startThread({
        drainTimeMs: CHANGE_DRAIN_MS,
        node,
        place,
        connections: this.#connections,
        limits: this.#limits,
        addresses: this.#addresses,
        connectionsMax,
        ticketKey: this.#ticketKey,
        inherited: shareOf(sockets, position, count),
      });
    } catch (error) {
      this.#places.giveBack(place);
      throw error;
    }
    this.#started.add(position);
    return {
      ...{ place, worker, sent: 0, applied: 0, listening: false },
      ...{ crash: undefined, isReplaced: false, draining: false },
    };
  }

  /** As start(); undefined, with a word in the log, where the system gives no further thread. Those that there are serve on. */
  tryToStart(position: number): WorkerLife | undefined {
    try {
      return this.start(position);
    } catch (error) {
      this.#options.log.error({ err: error, againMs: START_AGAIN_MS }, "a worker can't be started; it is tried again");
      return undefined;
    }
  }

  /** Makes no further keys. */
  close(): void {
    clearInterval(this.#ticketTimer);
  }

  /** A worker is gone, with all of its connections. */
  ended({ place }: WorkerLife): void {
    this.#options.stats.forget(place);
    this.#counts.forget(place);
    this.#limitCounts.forget(place);
    this.#addressCounts.forget(place);
    this.#places.giveBack(place);
  }
}
