import { type ServiceError, type ServerUnaryCall, status } from "@grpc/grpc-js";
import type { Logger } from "pino";

import type { Refusal } from "../xds/admission.ts";

/** Of a stream, in whatever direction its messages go: what is needed to know that it is over. */
interface Stream {
  on(event: "close" | "cancelled", listener: () => void): unknown;
}

/** What a call is ended with. */
export type Fail = (refusal: Refusal) => void;

/** What a unary call is answered by. */
type Respond<Answer> = (error: Partial<ServiceError> | null, answer?: Answer) => void;

export interface OpenCallsOptions {
  /** For refusals: "client status". */
  readonly name: string;
  /** Streams that may be open at once, over all callers. */
  readonly max: number;
  readonly log: Logger;
}

const failed: Refusal = { code: status.INTERNAL, details: "the control plane failed to answer; its log says why" };

/** The streams of one service: a bounded number, ended with the server; and what answers calls so that a bug ends that call alone. */
export class OpenCalls {
  readonly #name: string;
  readonly #max: number;
  readonly #log: Logger;
  readonly #open = new Map<Stream, Fail>();

  constructor({ name, max, log }: OpenCallsOptions) {
    this.#name = name;
    this.#max = max;
    this.#log = log;
  }

  get size(): number {
    return this.#open.size;
  }

  /** Takes a stream in, or ends it because there are too many; returns whether it may go on. */
  enter(call: Stream, fail: Fail): boolean {
    if (this.#open.size >= this.#max) {
      fail({ code: status.RESOURCE_EXHAUSTED, details: `${this.#max} ${this.#name} streams are open already` });
      return false;
    }
    this.#open.set(call, fail);
    for (const event of ["close", "cancelled"] as const) call.on(event, () => this.#open.delete(call));
    return true;
  }

  /** Ends a stream. */
  end(call: Stream, refusal: Refusal): void {
    const fail = this.#open.get(call);
    this.#open.delete(call);
    fail?.(refusal);
  }

  /** Does what a stream's message asks for. */
  async guard(call: Stream, work: () => void | Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#log.error({ service: this.#name, err: error }, "a call failed");
      this.end(call, failed);
    }
  }

  /** Answers a unary call. */
  async unary<Request, Answer extends object>(
    call: ServerUnaryCall<Request, Answer>,
    respond: Respond<Answer>,
    work: () => Promise<Answer | Refusal>,
  ): Promise<void> {
    try {
      const answer = await work();
      if (isRefusal(answer)) respond({ code: answer.code, details: answer.details });
      else if (!call.cancelled) respond(null, answer);
    } catch (error) {
      this.#log.error({ service: this.#name, err: error }, "a call failed");
      respond({ ...failed });
    }
  }

  /** Ends all streams, as the server ends. */
  close(): void {
    for (const call of [...this.#open.keys()]) {
      this.end(call, { code: status.UNAVAILABLE, details: "the control plane shuts down" });
    }
  }
}

/** Whether an answer is none, but the reason why. */
export const isRefusal = (answer: object): answer is Refusal => !("$typeName" in answer);
