/** Calls of methods whose messages are decoded, as all but discovery streams are: one place for whatever can be wrong with them. */
import {
  create,
  type DescMessage,
  type DescMethod,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { status } from "@grpc/grpc-js";
import type { Logger } from "pino";

import type { Refusal } from "./admission.ts";
import type { Credentials } from "./join.ts";
import type { RawCall } from "./raw-call.ts";

/** A method whose messages are known. */
export type Method<I extends DescMessage, O extends DescMessage> = DescMethod & {
  readonly input: I;
  readonly output: O;
};

/** What happens to a call. Nothing happens any more once it has ended. */
export interface PortCallListener<I extends DescMessage> {
  /** While it is at work, no other message comes. What it throws ends the call, and no other. */
  message(request: MessageShape<I>): void | Promise<void>;
  /** The client says no more. Default: the call ends well. */
  halfClosed?(): void | Promise<void>;
  /** The call is over, however it ended. */
  gone?(): void;
  /** The server ends. Default: the call ends with UNAVAILABLE. */
  closing?(): void;
}

const failed: Refusal = { code: status.INTERNAL, details: "the control plane failed to answer; its log says why" };
const shutsDown: Refusal = { code: status.UNAVAILABLE, details: "the control plane shuts down" };

/** A call under way. A client that doesn't read is not read from either, so that nothing piles up. */
export class PortCall<I extends DescMessage = DescMessage, O extends DescMessage = DescMessage> {
  readonly #raw: RawCall;
  readonly #method: Method<I, O>;
  readonly #log: Logger;
  #listener: PortCallListener<I> | undefined;
  #sending = 0;
  #working = false;
  #ended = false;

  /** @param raw one that can be paused */
  constructor(raw: RawCall, method: Method<I, O>, log: Logger) {
    this.#raw = raw;
    this.#method = method;
    this.#log = log;
  }

  /** Who is told what happens from now on. */
  listen(listener: PortCallListener<I>): void {
    this.#listener = listener;
    this.#raw.listen({
      message: (bytes) => this.#receive(bytes),
      halfClosed: () => this.#guard(() => (listener.halfClosed === undefined ? this.end() : listener.halfClosed())),
      gone: () => this.#over(),
    });
  }

  /** What the client shows. */
  get credentials(): Credentials {
    return this.#raw.credentials;
  }

  /** The client's "address:port". */
  get peer(): string {
    return this.#raw.peer;
  }

  /** Whether something that was sent has not left yet: who can wait with the next should. */
  get isSending(): boolean {
    return this.#sending > 0;
  }

  /** @param answer the message, or its bytes */
  send(answer: MessageInitShape<O> | Uint8Array): void {
    if (this.#ended) return;
    const { output } = this.#method;
    const bytes = answer instanceof Uint8Array ? answer : toBinary(output, create(output, answer));
    this.#sending++;
    this.#raw.pause();
    this.#raw.send([bytes], () => {
      this.#sending--;
      this.#goOn();
    });
  }

  /** Ends the call. @param refusal undefined: it ends well */
  end(refusal?: Refusal): void {
    if (this.#ended) return;
    this.#raw.end(refusal?.code ?? status.OK, refusal?.details);
    this.#over();
  }

  /** The server ends. */
  close(): void {
    const listener = this.#listener;
    if (listener?.closing !== undefined) this.#guard(() => listener.closing?.());
    this.end(shutsDown);
  }

  #receive(bytes: Buffer): void {
    let request: MessageShape<I>;
    try {
      // Messages share memory with what they are decoded from, which is the call's own.
      request = fromBinary(this.#method.input, bytes);
    } catch {
      this.end({ code: status.INVALID_ARGUMENT, details: `the message is no ${this.#method.input.typeName}` });
      return;
    }
    this.#guard(() => this.#listener?.message(request));
  }

  /** A bug that one client's message brings to light must not end others' calls. */
  #guard(work: () => void | Promise<void>): void {
    try {
      const done = work();
      if (done === undefined) return;
      this.#working = true;
      this.#raw.pause();
      done.then(
        () => {
          this.#working = false;
          this.#goOn();
        },
        (error: unknown) => this.#fail(error),
      );
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error: unknown): void {
    const { parent, name } = this.#method;
    this.#log.error({ service: parent.typeName, method: name, err: error }, "a call failed");
    this.end(failed);
  }

  #goOn(): void {
    if (!this.#ended && !this.#working && this.#sending === 0) this.#raw.resume();
  }

  #over(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#listener?.gone?.();
  }
}
