/**
 * What control planes on one PostgreSQL ask one another: each knows the data planes that are connected to it, and asks the others when
 * somebody wants to know of all. Questions and answers go through the database, so that replicas need not reach one another.
 */
import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";

/** A replica that is silent for so long is gone. */
const HOLD_MS = 6_000;
const BEAT_INTERVAL_MS = 1_500;
/** Whoever has not answered by then is left out, and named. */
const ANSWER_TIMEOUT_MS = 3_000;
/** Questions that this replica has under way at once; further ones go without the others' answers. */
const ASKED_MAX = 32;
/** Questions of others that it works on at once; further ones wait, up to a number, and then go without its answer. */
const ANSWERING_MAX = 4;
const WAITING_MAX = 64;

/** Where questions and answers lie: store/peer-rows.ts. */
export interface PeerRows {
  beat(replica: string, ttlMs: number): Promise<readonly string[]>;
  leave(replica: string): Promise<void>;
  ask(sender: string, question: Question): Promise<void>;
  question(id: string, reader: string): Promise<Question | undefined>;
  open(reader: string): Promise<readonly string[]>;
  answer(id: string, sender: string, bytes: Uint8Array | null): Promise<void>;
  answers(id: string): Promise<readonly { readonly sender: string; readonly bytes: Uint8Array | null }[]>;
  withdraw(id: string): Promise<void>;
  follow(events: { asked(id: string): void; answered(id: string): void; anything(): void }): () => Promise<void>;
}

interface Question {
  readonly id: string;
  readonly method: string;
  readonly bytes: Uint8Array;
}

/** What the other replicas said. */
export interface Asked {
  /** Of those that had something to say. */
  readonly answers: readonly Uint8Array[];
  /** Replicas that live, and did not answer in time. */
  readonly silent: readonly string[];
}

/** Answers a question of another replica; undefined: there is nothing to say. */
export type AnswerPeer = (bytes: Uint8Array) => Promise<Uint8Array | undefined>;

/** The other control planes on the same store. */
export interface Peers {
  /** This replica's name, for people: host, process and some letters. */
  readonly self: string;
  /** The names of the others that live, as of a moment ago. */
  readonly others: readonly string[];
  /** Asks all others. It never throws: who can't be heard is silent. */
  ask(method: string, bytes: Uint8Array): Promise<Asked>;
  /** Answers the others' questions. */
  serve(method: string, answer: AnswerPeer): void;
}

/** What this replica calls itself: another name after each start. */
export const replicaName = () => `${hostname()}-${process.pid}-${randomUUID().slice(0, 8)}`;

/** Replicas on one PostgreSQL. */
export class StorePeers implements Peers {
  readonly self = replicaName();
  readonly #rows: PeerRows;
  readonly #warn: (message: string) => void;
  readonly #handlers = new Map<string, AnswerPeer>();
  readonly #closed = new AbortController();
  /** Called when an answer to one of this replica's questions may have come. */
  readonly #waiting = new Map<string, () => void>();
  /** The same question, asked meanwhile, is answered by the same answers. */
  readonly #underWay = new Map<string, Promise<Asked>>();
  readonly #toAnswer = new Set<string>();
  readonly #answering = new Set<string>();
  #others: readonly string[] = [];
  #beating: Promise<void> = Promise.resolve();
  #unfollow = async () => {};

  /** @param warn takes what heals by itself */
  constructor(rows: PeerRows, warn: (message: string) => void) {
    this.#rows = rows;
    this.#warn = warn;
  }

  /** Takes part from now on. @throws StoreError */
  async start(): Promise<void> {
    await this.#beat();
    this.#beating = this.#keepBeating();
    this.#unfollow = this.#rows.follow({
      asked: (id) => this.#asked(id),
      answered: (id) => this.#waiting.get(id)?.(),
      anything: () => {
        for (const wake of this.#waiting.values()) wake();
        void this.#findQuestions();
      },
    });
  }

  get others(): readonly string[] {
    return this.#others;
  }

  serve(method: string, answer: AnswerPeer): void {
    this.#handlers.set(method, answer);
  }

  async ask(method: string, bytes: Uint8Array): Promise<Asked> {
    const others = this.#others;
    if (others.length === 0) return { answers: [], silent: [] };
    const key = `${method} ${Buffer.from(bytes).toString("base64")}`;
    const underWay = this.#underWay.get(key);
    if (underWay !== undefined) return await underWay;
    if (this.#underWay.size >= ASKED_MAX) return { answers: [], silent: others };
    const asked = this.#askNow(method, bytes, others).finally(() => this.#underWay.delete(key));
    this.#underWay.set(key, asked);
    return await asked;
  }

  /** Takes leave of the others. */
  async close(): Promise<void> {
    this.#closed.abort();
    for (const wake of this.#waiting.values()) wake();
    await this.#beating;
    await this.#unfollow();
    await this.#rows.leave(this.self).catch((error: unknown) => this.#failed(error));
  }

  async #askNow(method: string, bytes: Uint8Array, others: readonly string[]): Promise<Asked> {
    const id = randomUUID();
    const deadline = AbortSignal.any([this.#closed.signal, AbortSignal.timeout(ANSWER_TIMEOUT_MS)]);
    let heard: Awaited<ReturnType<PeerRows["answers"]>> = [];
    const missing = () => others.filter((other) => !heard.some(({ sender }) => sender === other));
    let wake = () => {};
    let came = false;
    this.#waiting.set(id, () => {
      came = true;
      wake();
    });
    try {
      await this.#rows.ask(this.self, { id, method, bytes });
      while (missing().length > 0 && !deadline.aborted) {
        const { promise, resolve } = Promise.withResolvers<void>();
        wake = resolve;
        deadline.addEventListener("abort", wake, { once: true });
        if (!came) await promise;
        deadline.removeEventListener("abort", wake);
        came = false;
        heard = await this.#rows.answers(id);
      }
      await this.#rows.withdraw(id);
    } catch (error) {
      this.#failed(error);
    } finally {
      this.#waiting.delete(id);
    }
    const answers = heard.flatMap((each) => (each.bytes === null ? [] : [each.bytes]));
    return { answers, silent: missing() };
  }

  #asked(id: string): void {
    if (this.#waiting.has(id) || this.#answering.has(id) || this.#toAnswer.size >= WAITING_MAX) return;
    this.#toAnswer.add(id);
    this.#answerNext();
  }

  #answerNext(): void {
    for (const id of this.#toAnswer) {
      if (this.#answering.size >= ANSWERING_MAX || this.#closed.signal.aborted) return;
      this.#toAnswer.delete(id);
      this.#answering.add(id);
      void this.#answer(id).finally(() => {
        this.#answering.delete(id);
        this.#answerNext();
      });
    }
  }

  async #answer(id: string): Promise<void> {
    try {
      const question = await this.#rows.question(id, this.self);
      // Of another version of Sluice: it has nothing to say to what it doesn't know.
      const answer = question && (await this.#handlers.get(question.method)?.(question.bytes));
      if (question !== undefined) await this.#rows.answer(id, this.self, answer ?? null);
    } catch (error) {
      this.#failed(error);
    }
  }

  async #findQuestions(): Promise<void> {
    try {
      for (const id of await this.#rows.open(this.self)) this.#asked(id);
    } catch (error) {
      this.#failed(error);
    }
  }

  async #keepBeating(): Promise<void> {
    const { signal } = this.#closed;
    while (!signal.aborted) {
      await sleep(BEAT_INTERVAL_MS, undefined, { signal }).catch(() => undefined);
      if (!signal.aborted) await this.#beat().catch((error: unknown) => this.#failed(error));
    }
  }

  async #beat(): Promise<void> {
    const live = await this.#rows.beat(this.self, HOLD_MS);
    this.#others = live.filter((replica) => replica !== this.self);
  }

  #failed(error: unknown): void {
    const message = error instanceof Error ? error.message : String(error);
    if (!this.#closed.signal.aborted) this.#warn(`other control planes: ${message}`);
  }
}
