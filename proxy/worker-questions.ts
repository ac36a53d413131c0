import type { Worker } from "node:worker_threads";

import type { ToWorker } from "./worker-messages.ts";
import { post } from "./worker-thread.ts";

/** What workers answered. */
export interface Answers<Answer> {
  /** In the order of the workers; without those that ended meanwhile. */
  readonly answers: readonly Answer[];
  /** How many workers are there and did not answer in time. */
  readonly missing: number;
}

/** One kind of question that the main thread puts to workers, and the questions that wait for answers. */
export class Questions<Answer> {
  readonly #waiting = new Map<number, (from: Worker, answer: Answer | undefined) => void>();
  #nextId = 1;

  /** Asks all workers at once (`question` is told which of them); resolves when each has answered or ended, at the latest after so many ms. */
  async ask(
    workers: readonly Worker[],
    question: (id: number, worker: number) => ToWorker,
    timeoutMs: number,
  ): Promise<Answers<Answer>> {
    const id = this.#nextId++;
    // One that has crashed and is not replaced yet says nothing any more.
    const asked = new Set(workers.filter(({ threadId }) => threadId !== -1));
    const answers = new Map<Worker, Answer>();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.set(id, (from, answer) => {
      if (!asked.delete(from)) return;
      if (answer !== undefined) answers.set(from, answer);
      if (asked.size === 0) resolve();
    });
    const timer = setTimeout(resolve, timeoutMs);
    if (asked.size === 0) resolve();
    for (const [at, worker] of workers.entries()) if (asked.has(worker)) post(worker, question(id, at));
    await promise;
    clearTimeout(timer);
    this.#waiting.delete(id);
    const inOrder = workers.flatMap((worker) => (answers.has(worker) ? [answers.get(worker) as Answer] : []));
    return { answers: inOrder, missing: asked.size };
  }

  /** Takes a worker's answer. One that comes too late is dropped. */
  answer(id: number, from: Worker, answer: Answer): void {
    this.#waiting.get(id)?.(from, answer);
  }

  /** A worker has ended, and answers nothing any more. */
  ended(worker: Worker): void {
    for (const waiting of this.#waiting.values()) waiting(worker, undefined);
  }
}
