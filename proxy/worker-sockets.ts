import type { Worker } from "node:worker_threads";

import type { Logger } from "pino";

import type { ListeningSocket } from "./listen/listening-sockets.ts";
import type { FromWorker } from "./worker-messages.ts";
import { Questions } from "./worker-questions.ts";

/** How long to wait until all workers have told of their sockets. One that starts on a busy machine takes a while. */
const LIST_MS_MAX = 10_000;

/** How long workers may take to take over sockets of another one: a little longer than listen/duplicate.ts gives up after. */
const ADOPT_MS_MAX = 40_000;

/**
 * The inherited sockets that fall to one of `count` workers. Those of each address are dealt out in turn, so that each worker gets one of each
 * as far as there are enough, and all of them somebody's: a socket that nobody accepts on leaves its clients waiting.
 */
export function shareOf(sockets: readonly ListeningSocket[], worker: number, count: number): ListeningSocket[] {
  const seen = new Map<string, number>();
  return sockets.filter(({ address, port }) => {
    const key = `${address} ${port}`;
    const turn = seen.get(key) ?? 0;
    seen.set(key, turn + 1);
    return turn % count === worker;
  });
}

/** The listening sockets of workers: which there are, and how they come to others. The kernel resets what waits in the queue of one that is closed. */
export class WorkerSockets {
  readonly #log: Pick<Logger, "warn">;
  readonly #lists = new Questions<readonly ListeningSocket[]>();
  readonly #adoptions = new Questions<{ readonly problem?: string }>();

  constructor(log: Pick<Logger, "warn">) {
    this.#log = log;
  }

  /** The sockets of workers, once these have carried out what they were told before. */
  async of(workers: readonly Worker[]): Promise<ListeningSocket[]> {
    const question = (id: number) => ({ kind: "list-sockets", id }) as const;
    const { answers, missing } = await this.#lists.ask(workers, question, LIST_MS_MAX);
    if (missing > 0)
      this.#log.warn({ workers: missing }, "a worker does not tell of its sockets; what waits there is lost");
    return answers.flat();
  }

  /** Has the heirs accept on the sockets of workers that are about to end. Resolves when they do, or when it is told in the log that they can't. */
  async move(from: readonly Worker[], heirs: readonly Worker[]): Promise<void> {
    const sockets = await this.of(from);
    if (sockets.length === 0 || heirs.length === 0) return;
    const question = (id: number, heir: number) =>
      ({ kind: "adopt", id, sockets: shareOf(sockets, heir, heirs.length) }) as const;
    const { answers, missing } = await this.#adoptions.ask(heirs, question, ADOPT_MS_MAX);
    const problems = answers.flatMap(({ problem }) => problem ?? []);
    if (missing === 0 && problems.length === 0) return;
    this.#log.warn(
      { workers: missing, problems },
      "a worker's sockets could not be taken over; what waits there is lost",
    );
  }

  /** Takes a worker's answer. */
  answer(from: Worker, message: Extract<FromWorker, { kind: "sockets" | "adopted" }>): void {
    if (message.kind === "sockets") this.#lists.answer(message.id, from, message.sockets);
    else this.#adoptions.answer(message.id, from, message);
  }

  /** A worker has ended, and answers nothing any more. */
  ended(worker: Worker): void {
    this.#lists.ended(worker);
    this.#adoptions.ended(worker);
  }
}
