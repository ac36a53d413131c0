/** Something that runs once after the events of a turn of the event loop, so that all of them are seen together. */
export interface Turn {
  run(): void;
}

/** Runs what was asked for in a turn of the event loop after its events, in one go: a change concerns a thousand streams, and an immediate costs as much as a look. */
export class Turns {
  #waiting: Turn[] = [];

  /** Has something run soon. Whoever asks twice is run twice; it must not throw. */
  add(turn: Turn): void {
    if (this.#waiting.push(turn) === 1) setImmediate(() => this.#runAll());
  }

  #runAll(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const turn of waiting) turn.run();
  }
}
