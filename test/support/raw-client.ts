import { connect, type Socket } from "node:net";

/** A client that speaks bytes. */
export class RawClient implements Disposable {
  readonly socket: Socket;
  received = "";
  ended = false;
  closed = false;
  readonly #waiters = new Set<() => void>();

  constructor(port: number, allowHalfOpen = true) {
    this.socket = connect({ port, host: "127.0.0.1", noDelay: true, allowHalfOpen });
    const wake = () => {
      for (const waiter of this.#waiters) waiter();
    };
    this.socket
      .on("data", (bytes) => {
        this.received += bytes.toString("latin1");
        wake();
      })
      .on("end", () => {
        this.ended = true;
        wake();
      })
      .on("error", () => {})
      .on("close", () => {
        this.ended = true;
        this.closed = true;
        wake();
      });
  }

  send(text: string): this {
    this.socket.write(text, "latin1");
    return this;
  }

  /** Waits until what was received satisfies the condition; fails when the connection ends before. */
  async until(condition: (received: string) => boolean): Promise<string> {
    await this.#wait(() => condition(this.received));
    if (!condition(this.received)) throw new Error(`connection ended after ${JSON.stringify(this.received)}`);
    return this.received;
  }

  /** Waits until the server has closed its half; returns all that was received. */
  async end(): Promise<string> {
    await this.#wait(() => false);
    return this.received;
  }

  async #wait(condition: () => boolean): Promise<void> {
    if (condition() || this.ended) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const waiter = () => {
      if (condition() || this.ended) resolve();
    };
    this.#waiters.add(waiter);
    await promise;
    this.#waiters.delete(waiter);
  }

  [Symbol.dispose](): void {
    this.socket.destroy();
  }
}

/** Sends bytes on a connection of their own and returns all of the answer, up to the end of the connection. */
export async function exchange(port: number, request: string): Promise<string> {
  using client = new RawClient(port);
  return await client.send(request).end();
}
