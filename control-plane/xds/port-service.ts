import type { DescMessage, DescMethod, DescService, MessageShape } from "@bufbuild/protobuf";
import { status } from "@grpc/grpc-js";
import type { Logger } from "pino";

import type { Refusal } from "./admission.ts";
import { type Method, PortCall, type PortCallListener } from "./port-call.ts";
import type { RawCall } from "./raw-call.ts";

/** A service besides discovery that the xDS port offers. */
export interface PortService {
  readonly service: DescService;
  readonly methods: readonly PortMethod[];
  /** Ends the streams that are open, as the server ends. */
  close?(): void;
}

/** A method, and what serves its calls. */
export interface PortMethod {
  readonly method: DescMethod;
  serve(call: RawCall, log: Logger): void;
}

/** Who calls. */
export type Caller = Pick<PortCall, "credentials" | "peer">;

/** A unary method. @param answer gives the answer, or its bytes, or why there is none */
export function unaryMethod<I extends DescMessage, O extends DescMessage>(
  method: Method<I, O>,
  answer: (request: MessageShape<I>, caller: Caller) => Answer<O> | Promise<Answer<O>>,
): PortMethod {
  const serve = (raw: RawCall, log: Logger) => {
    const call = new PortCall(raw, method, log);
    let request: MessageShape<I> | undefined;
    call.listen({
      message(received) {
        if (request === undefined) request = received;
        else call.end({ code: status.INVALID_ARGUMENT, details: "the call has more than one message" });
      },
      async halfClosed() {
        if (request === undefined) {
          call.end({ code: status.INVALID_ARGUMENT, details: "the call has no message" });
          return;
        }
        const answered = await answer(request, call);
        if (isRefusal(answered)) call.end(answered);
        else {
          call.send(answered);
          call.end();
        }
      },
    });
  };
  return { method, serve };
}

/** What a unary call is answered by: a message, or its bytes, or why there is none. */
export type Answer<O extends DescMessage> = MessageShape<O> | Uint8Array | Refusal;

/** Whether an answer is none, but the reason why. */
export const isRefusal = (answer: object): answer is Refusal =>
  !("$typeName" in answer || answer instanceof Uint8Array);

/** A bounded number of calls that last, over all callers. */
export class PortStreams<I extends DescMessage, O extends DescMessage> implements PortMethod {
  readonly method: Method<I, O>;
  readonly #max: number;
  readonly #open: (call: PortCall<I, O>) => PortCallListener<I>;
  readonly #calls = new Set<PortCall<I, O>>();

  /** @param open whom a new call is for */
  constructor(method: Method<I, O>, max: number, open: (call: PortCall<I, O>) => PortCallListener<I>) {
    this.method = method;
    this.#max = max;
    this.#open = open;
  }

  serve(raw: RawCall, log: Logger): void {
    const call = new PortCall(raw, this.method, log);
    if (this.#calls.size >= this.#max) {
      const details = `${this.#max} calls of ${this.method.name} are open already`;
      call.end({ code: status.RESOURCE_EXHAUSTED, details });
      return;
    }
    this.#calls.add(call);
    const listener = this.#open(call);
    call.listen({
      message: (request) => listener.message(request),
      ...(listener.halfClosed && { halfClosed: () => listener.halfClosed?.() }),
      ...(listener.closing && { closing: () => listener.closing?.() }),
      gone: () => {
        this.#calls.delete(call);
        listener.gone?.();
      },
    });
  }

  /** Ends all calls, as the server ends. */
  close(): void {
    for (const call of this.#calls) call.close();
  }
}
