import type { Worker } from "node:worker_threads";

import type { ClusterStatus } from "./admin/source.ts";
import { mergeClusters } from "./cluster-status.ts";
import { CrashDelays } from "./crash-delays.ts";
import { CHANGE_DRAIN_MS } from "./options.ts";
import { type PackedUpdates, packUpdates } from "./packed-updates.ts";
import { drain, retire, serves, type WorkerLife } from "./worker-life.ts";
import type { FromWorker, ToWorker } from "./worker-messages.ts";
import { Questions } from "./worker-questions.ts";
import { WorkerSockets } from "./worker-sockets.ts";
import { START_AGAIN_MS, WorkerStarter } from "./worker-starter.ts";
import { post } from "./worker-thread.ts";
import type { Inheritance, WorkersOptions } from "./workers-options.ts";
import type { ResourceUpdate } from "./xds/graph.ts";

/** How long /clusters waits for the workers. */
const ANSWER_MS_MAX = 2_000;
/** How long /reopen_logs does: a disk may be slow. */
const REOPEN_MS_MAX = 10_000;

/**
 * The worker threads that serve requests. All have the same configuration. One in which something was thrown that nobody caught is told in the log, counted, and
 * replaced by one that starts with all of the present configuration; it goes on until that one serves, and then drains. The first worker
 * starts alone; the others follow when it serves, so that they don't take the cores from it, from the main thread, and from a control plane that starts on the same machine.
 */
export class Workers {
  readonly #options: WorkersOptions;
  /** By their positions. */
  readonly #lives: WorkerLife[] = [];
  /** What is to follow workers that crashed and still serve. */
  readonly #successors = new Map<WorkerLife, WorkerLife>();
  /** Workers that end: there are too many, or they were replaced. */
  readonly #leaving = new Set<WorkerLife>();
  readonly #starter: WorkerStarter;
  readonly #delays = new CrashDelays();
  readonly #clusterQuestions = new Questions<readonly ClusterStatus[]>();
  readonly #reopenQuestions = new Questions<true>();
  readonly #sockets: WorkerSockets;
  /** Steps that move sockets, one after the other. None rejects. */
  #steps: Promise<void> = Promise.resolve();
  /** Set while workers are missing that could not be started. */
  #startingLater: NodeJS.Timeout | undefined;
  /** Whether the whole configuration is in use. */
  #whole = false;
  /** Those who wait for workers to have an update in use. */
  readonly #waiting: (() => void)[] = [];
  /** Nothing is started any more. */
  #ending = false;
  /** How many workers there shall be. */
  #count: number;
  #healthFailed: boolean;
  /** Crashes since the start, for the statistics. */
  crashes = 0;

  constructor(options: WorkersOptions) {
    this.#options = options;
    this.#sockets = new WorkerSockets(options.log);
    this.#count = options.count;
    this.#starter = new WorkerStarter(options, (key) => this.#tellAll({ kind: "ticket-key", key }));
    this.#healthFailed = options.inherited?.healthFailed ?? false;
    this.#lives.push(this.#listenTo(this.#starter.start(0)));
  }

  /** How many workers there shall be. */
  get count(): number {
    return this.#count;
  }

  /**
   * Changes the number of workers. New ones start with the present configuration; those that are too many leave their listening sockets to the others, let
   * their connections end, and end.
   */
  setCount(count: number): void {
    if (this.#ending) return;
    this.#count = count;
    this.#step(() => this.#fit());
  }

  /** What the next process needs in order to take over: the sockets of all workers, those that are still starting among them. */
  async inheritance(): Promise<Inheritance> {
    await this.#steps;
    const workers = [...this.#lives, ...this.#successors.values()].map(({ worker }) => worker);
    const sockets = await this.#sockets.of(workers);
    return { sockets, ticketKey: this.#starter.ticketKey, workers: this.#count, healthFailed: this.#healthFailed };
  }

  /** Has the workers close the inherited sockets that no listener took. To be called once the whole configuration is in use. */
  closeUnclaimed(): void {
    this.#whole = true;
    this.#tellAll({ kind: "close-unclaimed" });
  }

  /** How many workers serve a whole configuration, though perhaps not the latest. */
  get serving(): number {
    return this.#lives.filter(serves).length;
  }

  /** How many workers serve all that was sent so far. */
  get upToDate(): number {
    return this.#lives.filter((life) => serves(life) && life.sent === life.applied).length;
  }

  /**
   * Sends a change to all workers. Fulfilled when all have it in use, also those that are starting, which would serve by what they began with. Who is
   * behind already is not waited for, nor one that crashes or ends: a worker that hangs keeps changes from the others no more than once.
   */
  async apply(updates: readonly ResourceUpdate[]): Promise<void> {
    if (updates.length === 0) return;
    const packed = packUpdates(updates);
    const upToDate = this.#lives.filter(({ sent, applied }) => sent === applied || sent === 1);
    for (const life of this.#lives) this.#apply(life, packed);
    // One that waits for sockets gets all there is afterwards.
    for (const life of this.#successors.values()) if (life.sent > 0) this.#apply(life, packed);
    await Promise.all(upToDate.map((life) => this.#used(life, life.sent)));
  }

  /**
   * All clusters with their endpoints: what is configured from the first worker that answers, requests under way from all together. A worker
   * that is starting has neither, and is not asked.
   */
  async clusters(): Promise<ClusterStatus[]> {
    const workers = this.#lives.filter(({ applied }) => applied > 0).map(({ worker }) => worker);
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
    this.#tellAll({ kind: "health", failed });
  }

  /** Has all workers open their access logs' files anew. False: some may still write to those of before. */
  async reopenLogs(): Promise<boolean> {
    const question = (id: number) => ({ kind: "reopen-logs", id }) as const;
    const everybody = Array.from(this.#everybody(), workerOf);
    const { missing } = await this.#reopenQuestions.ask(everybody, question, REOPEN_MS_MAX);
    return missing === 0;
  }

  /** Closes the listeners of all workers; resolves when all connections have ended, at the latest after so many ms (and a little). */
  async drain(timeMs: number): Promise<void> {
    this.#ending = true;
    const drained = Array.from(this.#everybody(), (life) => drain(life, timeMs));
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, timeMs + 1000);
    });
    await Promise.race([Promise.all(drained), late]);
    clearTimeout(timer);
  }

  /** Ends all threads. */
  async close(): Promise<void> {
    this.#ending = true;
    this.#starter.close();
    clearTimeout(this.#startingLater);
    await Promise.all(Array.from(this.#everybody(), ({ worker }) => worker.terminate()));
  }

  *#everybody(): Generator<WorkerLife> {
    yield* this.#lives;
    yield* this.#successors.values();
    yield* this.#leaving;
  }

  #tellAll(message: ToWorker): void {
    for (const { worker } of this.#everybody()) post(worker, message);
  }

  /** Fulfilled when a worker has an update in use, or never will. */
  async #used(life: WorkerLife, sequence: number): Promise<void> {
    while (life.applied < sequence && life.crash === undefined && life.worker.threadId !== -1) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  /** A worker has an update in use, has crashed, or has ended. */
  #moved(): void {
    for (const look of this.#waiting.splice(0)) look();
  }

  #step(step: () => Promise<void>): void {
    this.#steps = this.#steps.then(() => (this.#ending ? undefined : step()));
  }

  #apply(life: WorkerLife, updates: PackedUpdates): void {
    life.sent++;
    const controlPlane = life.sent === 1 ? this.#options.controlPlane() : undefined;
    post(life.worker, { kind: "apply", sequence: life.sent, updates, controlPlane });
  }

  /** Comes to the number of workers that there shall be. */
  async #fit(): Promise<void> {
    const leaving = this.#lives.splice(this.#count);
    for (const life of leaving) {
      this.#leaving.add(life);
      this.#giveUpSuccessor(life);
    }
    await this.#roomFor(this.#count - this.#lives.length);
    if (this.#lives.some(serves)) this.#addOthers();
    this.#options.changed();
    await this.#leave(leaving, this.#lives);
  }

  /** Resolves when so many can be started, at the latest when all are gone that drain. */
  async #roomFor(workers: number): Promise<void> {
    if (this.#starter.hasRoomFor(workers)) return;
    const gone = Array.from(this.#leaving, ({ worker }) => new Promise((resolve) => worker.once("exit", resolve)));
    await Promise.all(gone);
  }

  /** Lets workers end, and others have their sockets. */
  async #leave(leaving: readonly WorkerLife[], heirs: readonly WorkerLife[]): Promise<void> {
    if (leaving.length === 0) return;
    await this.#sockets.move(leaving.map(workerOf), heirs.map(workerOf));
    if (this.#whole) for (const { worker } of heirs) post(worker, { kind: "close-unclaimed" });
    for (const life of leaving) this.#retire(life, CHANGE_DRAIN_MS);
  }

  /** Lets a worker end that is no longer wanted. Its counts stay. */
  #retire(life: WorkerLife, drainTimeMs: number): void {
    this.#leaving.add(life);
    retire(life, drainTimeMs);
  }

  /** Starts all workers that are still missing, with the present configuration. */
  #addOthers(): void {
    if (this.#ending || this.#lives.length >= this.#count || this.#startingLater !== undefined) return;
    const updates = packUpdates(this.#options.current());
    while (this.#lives.length < this.#count) {
      const life = this.#start(this.#lives.length);
      if (life === undefined) {
        this.#startingLater = setTimeout(() => {
          this.#startingLater = undefined;
          this.#addOthers();
        }, START_AGAIN_MS);
        return;
      }
      this.#lives.push(life);
      this.#apply(life, updates);
    }
  }

  /** Starts a worker for a position among the workers; undefined where that can't be done now (worker-starter.ts). */
  #start(position: number): WorkerLife | undefined {
    const life = this.#starter.tryToStart(position);
    return life && this.#listenTo(life);
  }

  #listenTo(life: WorkerLife): WorkerLife {
    const { worker } = life;
    if (this.#healthFailed) post(worker, { kind: "health", failed: true });
    worker.on("error", (error) => {
      life.crash ??= error as Error;
    });
    worker.on("message", (message: FromWorker) => this.#message(life, message));
    worker.once("exit", (code) => this.#exited(life, code));
    return life;
  }

  #message(life: WorkerLife, message: FromWorker): void {
    switch (message.kind) {
      case "applied":
        this.#applied(life, message);
        break;
      case "clusters":
        this.#clusterQuestions.answer(message.id, life.worker, message.clusters);
        break;
      case "reopened":
        this.#reopenQuestions.answer(message.id, life.worker, true);
        break;
      case "sockets":
      case "adopted":
        this.#sockets.answer(life.worker, message);
        break;
      case "crashed":
        this.#thrown(life, Object.assign(new Error(message.message), { stack: message.stack }));
        break;
      case "listener-failed":
        this.#options.log.error({ listener: message.name, worker: life.place }, message.reason);
        break;
      case "stats":
        this.#options.stats.take(life.place, message);
        break;
      case "drained":
        break;
    }
  }

  #applied(life: WorkerLife, { sequence, listening }: Extract<FromWorker, { kind: "applied" }>): void {
    life.applied = sequence;
    life.listening = listening;
    this.#moved();
    for (const [before, next] of this.#successors) if (next === life && serves(life)) this.#succeed(before, life);
    if (sequence === 1 && this.#whole) post(life.worker, { kind: "close-unclaimed" });
    this.#addOthers();
    this.#options.changed();
  }

  /** Something was thrown in a worker. One that serves goes on until another one does in its place. */
  #thrown(life: WorkerLife, error: Error): void {
    const position = this.#lives.indexOf(life);
    const first = life.crash === undefined;
    life.crash ??= error;
    this.#moved();
    if (this.#ending || !first || this.#leaving.has(life)) {
      this.#options.log.error({ err: error, worker: life.place }, "a worker that is about to end crashed again");
    } else if (position < 0 || !serves(life)) void life.worker.terminate();
    else this.#crashed(life, position, undefined);
  }

  #crashed(life: WorkerLife, position: number, code: number | undefined): void {
    this.crashes++;
    life.isReplaced = true;
    const delayMs = this.#delays.crashed(position, performance.now());
    this.#options.log.error({ err: life.crash, worker: life.place, code, delayMs }, "worker crashed; it is replaced");
    this.#options.changed();
    setTimeout(() => this.#step(() => this.#replace(life)), delayMs);
  }

  /** Starts another worker in the place of one that crashed, with its sockets if it still has them. */
  async #replace(life: WorkerLife): Promise<void> {
    const position = this.#lives.indexOf(life);
    if (position < 0 || this.#successors.has(life)) return;
    await this.#roomFor(1);
    const next = this.#start(position);
    if (next === undefined) return void setTimeout(() => this.#step(() => this.#replace(life)), START_AGAIN_MS).unref();
    if (life.worker.threadId === -1) this.#lives[position] = next;
    else {
      this.#successors.set(life, next);
      await this.#sockets.move([life.worker], [next.worker]);
      if (this.#ending) return;
    }
    this.#apply(next, packUpdates(this.#options.current()));
  }

  #succeed(life: WorkerLife, next: WorkerLife): void {
    this.#successors.delete(life);
    this.#lives[this.#lives.indexOf(life)] = next;
    this.#retire(life, this.#options.drainTimeMs);
  }

  #giveUpSuccessor(life: WorkerLife): void {
    const next = this.#successors.get(life);
    this.#successors.delete(life);
    if (next === undefined) return;
    this.#leaving.add(next);
    void next.worker.terminate();
  }

  #exited(life: WorkerLife, code: number): void {
    this.#clusterQuestions.ended(life.worker);
    this.#reopenQuestions.ended(life.worker);
    this.#sockets.ended(life.worker);
    this.#moved();
    life.applied = 0;
    const isLeaving = this.#leaving.delete(life);
    if (this.#ending) return;
    this.#starter.ended(life);
    if (isLeaving) return this.#options.log.info({ worker: life.place }, "worker ended; it was to");
    for (const [before, next] of this.#successors) {
      if (next === life) {
        this.#successors.delete(before);
        return this.#crashed(before, this.#lives.indexOf(before), code);
      }
    }
    const position = this.#lives.indexOf(life);
    const next = this.#successors.get(life);
    if (position < 0) return;
    this.#successors.delete(life);
    if (next !== undefined) this.#lives[position] = next;
    else if (!life.isReplaced) this.#crashed(life, position, code);
  }
}

const workerOf = ({ worker }: WorkerLife): Worker => worker;
