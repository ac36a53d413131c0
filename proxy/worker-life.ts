import type { Worker } from "node:worker_threads";

import type { FromWorker } from "./worker-messages.ts";
import { post } from "./worker-thread.ts";

/** A worker thread, from its start to its end. */
export interface WorkerLife {
  /** Where it counts things: nobody else's as long as it lives. */
  readonly place: number;
  readonly worker: Worker;
  /** The last update sent, and the last applied, counted from its start. */
  sent: number;
  applied: number;
  /** Whether it has listeners open (or needs none). */
  listening: boolean;
  /** What was thrown in it that nobody caught, first. */
  crash: Error | undefined;
  /** Whether another one is about to be started in its stead. */
  isReplaced: boolean;
  /** Whether it was told to drain. */
  draining: boolean;
}

/** Whether it serves a whole configuration, though perhaps not the latest; one that has just started has applied nothing. */
export const serves = ({ applied, listening }: WorkerLife): boolean => applied > 0 && listening;

/** Has a worker close its listeners and let its connections end within so many ms. Resolves when they have, or it has ended. */
export function drain(life: WorkerLife, timeMs: number): Promise<void> {
  const { worker } = life;
  // One that has crashed and is not replaced yet has nothing to drain.
  if (worker.threadId === -1) return Promise.resolve();
  const drained = new Promise<void>((resolve) => {
    worker.on("message", ({ kind }: FromWorker) => kind === "drained" && resolve());
    worker.once("exit", () => resolve());
  });
  if (!life.draining) post(worker, { kind: "drain", timeMs });
  life.draining = true;
  return drained;
}

/** How long a worker may take beyond its drain time. */
const RETIRE_MS_SLACK = 2_000;

/** Has a worker end when its connections have, or the time is over. */
export function retire(life: WorkerLife, drainTimeMs: number): void {
  const end = () => void life.worker.terminate();
  const late = setTimeout(end, drainTimeMs + RETIRE_MS_SLACK);
  life.worker.once("exit", () => clearTimeout(late));
  void drain(life, drainTimeMs).then(end);
}

/** The smallest number that nobody has, and that is the taker's until it is given back. */
export class Places {
  readonly #taken = new Set<number>();

  /** How many are taken. */
  get size(): number {
    return this.#taken.size;
  }

  take(): number {
    let place = 0;
    while (this.#taken.has(place)) place++;
    this.#taken.add(place);
    return place;
  }

  giveBack(place: number): void {
    this.#taken.delete(place);
  }
}
