import { randomBytes } from "node:crypto";
import type { Worker } from "node:worker_threads";

import type { Logger } from "pino";

import type { ClusterStatus } from "./admin/source.ts";
import { mergeClusters } from "./cluster-status.ts";
import { AddressCounts, addressCountsMemory } from "./listen/address-counts.ts";
import { ConnectionCounts, connectionCountsMemory } from "./listen/connection-counts.ts";
import type { ListeningSocket } from "./listen/listener.ts";
import type { StatsReader } from "./observe/stats-reader.ts";
import { type PackedUpdates, packUpdates } from "./packed-updates.ts";
import { WORKERS_MAX } from "./options.ts";
import type { FromWorker } from "./worker-messages.ts";
import { Questions } from "./worker-questions.ts";
import { shareOf } from "./worker-sockets.ts";
import { post, startThread } from "./worker-thread.ts";
import type { ResourceUpdate } from "./xds/graph.ts";

/** A worker that crashes is replaced at once, and after n crashes within a minute only after base * 2^n ms. */
const RESTART_MS_BASE = 100;
const RESTART_MS_MAX = 10_000;
const CRASH_WINDOW_MS = 60_000;

/** How long a worker may take beyond its drain time. */
const RETIRE_MS_SLACK = 2_000;

/** How long /clusters waits for the workers. */
const ANSWER_MS_MAX = 2_000;

/** How long a hot restart waits until all workers have told of their sockets. One that starts on a busy machine takes a while. */
const INHERITANCE_MS_MAX = 10_000;

export interface WorkersOptions {
  readonly count: number;
  readonly drainTimeMs: number;
  /** Open connections of all workers together at most; undefined: any number. */
  readonly connectionsMax?: number | undefined;
  /** The proxy's node id and gateway group. */
  readonly node: { readonly id: string; readonly cluster: string };
  readonly log: Pick<Logger, "info" | "warn" | "error">;
  /** Everything that a new worker needs to start from. */
  readonly current: () => readonly ResourceUpdate[];
  /** Called after each change of {@link Workers.serving} and {@link Workers.upToDate}. */
  readonly changed: () => void;
  /** Where the workers' statistics are summed up. */
  readonly stats: StatsReader;
  /** What a former process left; undefined: there was none. */
  readonly inherited?: Inheritance | undefined;
}

/** What the workers of a process leave to those of the next one. */
export interface Inheritance {
  readonly sockets: readonly ListeningSocket[];
  /** Of session tickets. Secret. */
  readonly ticketKey: Uint8Array;
  /** How many workers there shall be. */
  readonly workers: number;
}

/** A key for session tickets is used for so long; then clients shake hands in full once. */
const TICKET_KEY_MS = 12 * 3600_000;

interface Slot {
  readonly index: number;
  worker: Worker;
  /** The last update sent, and the last applied, counted from the worker's start. */
  sent: number;
  applied: number;
  /** Whether the worker has listeners open (or needs none). */
  listening: boolean;
  crashedAt: number[];
}

/**
 * The worker threads that serve requests. All have the same configuration; one that crashes is told in the log, counted, and replaced
 * by one that starts with all of the present configuration. The first worker starts alone; the others follow when it serves, so that they don't
 * take the cores from it, from the main thread, and from a control plane that starts on the same machine.
 */
export class Workers {
  readonly #options: WorkersOptions;
  readonly #slots: Slot[] = [];
  readonly #clusterQuestions = new Questions<readonly ClusterStatus[]>();
  readonly #socketQuestions = new Questions<readonly ListeningSocket[]>();
  /** Workers that drain since there are too many. */
  readonly #retired = new Set<Worker>();
  /** The places in which a worker was started. */
  readonly #started = new Set<number>();
  /** Nothing is started any more. */
  #ending = false;
  readonly #connections = connectionCountsMemory(WORKERS_MAX);
  readonly #counts = new ConnectionCounts(this.#connections, 0);
  readonly #addresses = addressCountsMemory(WORKERS_MAX);
  readonly #addressCounts = new AddressCounts(this.#addresses, 0);
  /** How many workers there shall be. */
  #count: number;
  #ticketKey: Uint8Array;
  readonly #ticketTimer: NodeJS.Timeout;
  #healthFailed = false;
  /** Crashes since the start, for the statistics. */
  crashes = 0;

  constructor(options: WorkersOptions) {
    this.#options = options;
    this.#count = options.count;
    this.#ticketKey = options.inherited?.ticketKey ?? randomBytes(48);
    this.#ticketTimer = setInterval(() => this.#rotateTicketKey(), TICKET_KEY_MS);
    this.#ticketTimer.unref();
    this.#add();
  }

  /** How many workers there shall be. */
  get count(): number {
    return this.#count;
  }

  /**
   * Changes the number of workers. New ones start with the present configuration; those that are too many accept no more, let their connections end
   * within the drain time, and end.
   */
  setCount(count: number): void {
    if (this.#ending) return;
    this.#count = count;
    for (const slot of this.#slots.splice(count)) this.#retire(slot);
    if (this.#slots.some(serves)) this.#addOthers();
    this.#options.changed();
  }

  /** What the next process needs in order to take over: the sockets of all workers, those that are still starting among them. */
  async inheritance(): Promise<Inheritance> {
    const workers = this.#slots.map(({ worker }) => worker);
    const question = (id: number) => ({ kind: "list-sockets", id }) as const;
    const { answers, missing } = await this.#socketQuestions.ask(workers, question, INHERITANCE_MS_MAX);
    if (missing > 0)
      this.#options.log.warn({ workers: missing }, "a worker does not tell of its sockets; what waits there is lost");
    return { sockets: answers.flat(), ticketKey: this.#ticketKey, workers: this.#count };
  }

  /** Has the workers close the inherited sockets that no listener took. To be called once the whole configuration is in use. */
  closeUnclaimed(): void {
    for (const { worker } of this.#slots) post(worker, { kind: "close-unclaimed" });
  }

  /** How many workers serve a whole configuration, though perhaps not the latest. */
  get serving(): number {
    return this.#slots.filter(serves).length;
  }

  /** How many workers serve all that was sent so far. */
  get upToDate(): number {
    return this.#slots.filter((slot) => serves(slot) && slot.sent === slot.applied).length;
  }

  /** Sends a change to all workers. */
  apply(updates: readonly ResourceUpdate[]): void {
    if (updates.length === 0) return;
    const packed = packUpdates(updates);
    for (const slot of this.#slots) this.#apply(slot, packed);
  }

  /**
   * All clusters with their endpoints: what is configured from the first worker that answers, requests under way from all together. A worker
   * that is starting has neither, and is not asked.
   */
  async clusters(): Promise<ClusterStatus[]> {
    const workers = this.#slots.filter(({ applied }) => applied > 0).map(({ worker }) => worker);
    const question = (id: number) => ({ kind: "list-clusters", id }) as const;
    const { answers, missing } = await this.#clusterQuestions.ask(workers, question, ANSWER_MS_MAX);
    if (missing > 0) throw new Error("a worker does not answer");
    return mergeClusters(answers);
  }

  /** Whether the proxy was told to fail health checks. */
  get healthFailed(): boolean {
    return this.#healthFailed;
  }

  /** Has clients go elsewhere, or has them stay from now on. */
  failHealth(failed: boolean): void {
    this.#healthFailed = failed;
    for (const { worker } of this.#slots) post(worker, { kind: "health", failed });
  }

  /** Has all workers open their access logs' files anew. */
  reopenLogs(): void {
    for (const { worker } of this.#slots) post(worker, { kind: "reopen-logs" });
  }

  /** Closes the listeners of all workers; resolves when all connections have ended, at the latest after so many ms (and a little). */
  async drain(timeMs: number): Promise<void> {
    this.#ending = true;
    const all = this.#slots.map(
      ({ worker }) =>
        new Promise<void>((resolve) => {
          // One that has crashed and is not replaced yet has nothing to drain.
          if (worker.threadId === -1) return resolve();
          worker.on("message", ({ kind }: FromWorker) => kind === "drained" && resolve());
          worker.once("exit", () => resolve());
          post(worker, { kind: "drain", timeMs });
        }),
    );
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, timeMs + 1000);
    });
    await Promise.race([Promise.all(all), late]);
    clearTimeout(timer);
  }

  /** Ends all threads. */
  async close(): Promise<void> {
    this.#ending = true;
    clearInterval(this.#ticketTimer);
    await Promise.all(
      [...this.#slots.map(({ worker }) => worker), ...this.#retired].map((worker) => worker.terminate()),
    );
  }

  #apply(slot: Slot, updates: PackedUpdates): void {
    slot.sent++;
    post(slot.worker, { kind: "apply", sequence: slot.sent, updates });
  }

  /** Lets a worker end that is no longer wanted. Its counts stay. */
  #retire({ index, worker }: Slot): void {
    this.#retired.add(worker);
    const end = () => void worker.terminate();
    const late = setTimeout(end, this.#options.drainTimeMs + RETIRE_MS_SLACK);
    worker.on("message", ({ kind }: FromWorker) => kind === "drained" && end());
    worker.once("exit", () => {
      clearTimeout(late);
      this.#retired.delete(worker);
    });
    // What it counts while it drains is not missed, as long as no other worker has its number.
    worker.once("exit", () => {
      if (this.#slots[index] !== undefined) return;
      this.#options.stats.forget(index);
      this.#forgetConnections(index);
    });
    post(worker, { kind: "drain", timeMs: this.#options.drainTimeMs });
  }

  #forgetConnections(worker: number): void {
    this.#counts.forget(worker);
    this.#addressCounts.forget(worker);
  }

  #rotateTicketKey(): void {
    this.#ticketKey = randomBytes(48);
    for (const { worker } of this.#slots) post(worker, { kind: "ticket-key", key: this.#ticketKey });
  }

  /** Starts a further worker. */
  #add(): Slot {
    const index = this.#slots.length;
    const slot = { index, worker: this.#start(index), sent: 0, applied: 0, listening: false, crashedAt: [] };
    this.#slots.push(slot);
    return slot;
  }

  /** Starts all workers that are still missing, with the present configuration. */
  #addOthers(): void {
    if (this.#ending || this.#slots.length >= this.#count) return;
    const updates = packUpdates(this.#options.current());
    while (this.#slots.length < this.#count) this.#apply(this.#add(), updates);
  }

  #start(index: number): Worker {
    const { drainTimeMs, inherited } = this.#options;
    // Each socket goes to one worker, and only to the first in its place: one that replaces it opens its own.
    const sockets = this.#started.has(index) ? [] : (inherited?.sockets ?? []);
    this.#started.add(index);
    const worker = startThread({
      drainTimeMs,
      node: this.#options.node,
      index,
      connections: this.#connections,
      addresses: this.#addresses,
      connectionsMax: this.#options.connectionsMax ?? 0,
      ticketKey: this.#ticketKey,
      inherited: shareOf(sockets, index, this.#options.count),
    });
    if (this.#healthFailed) post(worker, { kind: "health", failed: true });
    let reason: unknown;
    worker.on("error", (error) => {
      reason = error;
    });
    worker.on("message", (message: FromWorker) => this.#message(index, worker, message));
    worker.once("exit", (code) => this.#exited(index, worker, code, reason));
    return worker;
  }

  #message(index: number, worker: Worker, message: FromWorker): void {
    const slot = this.#slots[index];
    if (slot?.worker !== worker) return;
    switch (message.kind) {
      case "applied":
        slot.applied = message.sequence;
        slot.listening = message.listening;
        this.#addOthers();
        this.#options.changed();
        break;
      case "clusters":
        this.#clusterQuestions.answer(message.id, worker, message.clusters);
        break;
      case "sockets":
        this.#socketQuestions.answer(message.id, worker, message.sockets);
        break;
      case "listener-failed":
        this.#options.log.error({ listener: message.name, worker: index }, message.reason);
        break;
      case "stats":
        this.#options.stats.take(index, message);
        break;
      case "drained":
        break;
    }
  }

  #exited(index: number, worker: Worker, code: number, reason: unknown): void {
    this.#clusterQuestions.ended(worker);
    this.#socketQuestions.ended(worker);
    const slot = this.#slots[index];
    if (slot?.worker !== worker) return;
    slot.applied = 0;
    if (this.#ending) return;
    this.crashes++;
    this.#options.stats.forget(index);
    this.#forgetConnections(index);
    const now = performance.now();
    slot.crashedAt = [...slot.crashedAt.filter((at) => now - at < CRASH_WINDOW_MS), now];
    const delayMs =
      slot.crashedAt.length === 1 ? 0 : Math.min(RESTART_MS_MAX, RESTART_MS_BASE * 2 ** slot.crashedAt.length);
    this.#options.log.error({ err: reason, worker: index, code, delayMs }, "worker crashed; it is replaced");
    this.#options.changed();
    setTimeout(() => {
      if (this.#ending || this.#slots[index] !== slot) return;
      slot.worker = this.#start(index);
      slot.sent = 0;
      this.#apply(slot, packUpdates(this.#options.current()));
    }, delayMs);
  }
}

/** A worker that has just started has applied nothing. */
const serves = ({ applied, listening }: Slot) => applied > 0 && listening;
