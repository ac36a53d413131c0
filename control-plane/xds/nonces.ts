import { randomBytes } from "node:crypto";

/** The nonces of a stream: no two are the same, and none is another stream's (S1). */
export class Nonces {
  readonly #prefix = randomBytes(4).toString("hex");
  #count = 0;

  next(): string {
    return `${this.#prefix}-${++this.#count}`;
  }
}
