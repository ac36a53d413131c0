import { performance } from "node:perf_hooks";

/** Takes the end of a wait; `kind` is what the timer was made with. */
export interface TimerOwner {
  onTimer(kind: number): void;
}

/**
 * A deadline on the worker's timer wheel. A request may have several, nearly all are cancelled: scheduling and cancelling is linking and
 * unlinking, and one timer of Node's serves all of them.
 */
export class Timer {
  readonly owner: TimerOwner;
  readonly kind: number;
  /** In ticks of the wheel; -1: not scheduled. */
  tick = -1;
  next: Timer | undefined = undefined;
  previous: Timer | undefined = undefined;

  constructor(owner: TimerOwner, kind: number) {
    this.owner = owner;
    this.kind = kind;
  }
}

/** The longest wait that Node's timers know, 24.8 days: what is longer would be over at once. */
export const TIMEOUT_MS_MAX = 2 ** 31 - 1;

/** How late a deadline may be noticed. */
const TICK_MS = 10;
const SLOTS = 512;
/** The longest sleep with anything scheduled: one turn of the wheel. */
const TURN = SLOTS;

/** A hashed timer wheel. A deadline further away than one turn stays in its slot until its turn comes. */
export class TimerWheel {
  readonly #slots: (Timer | undefined)[] = Array.from({ length: SLOTS });
  #count = 0;
  #doneTick = Math.floor(performance.now() / TICK_MS);
  #wakeTick = Number.POSITIVE_INFINITY;
  #wake: NodeJS.Timeout | undefined = undefined;

  /** Starts a wait of so many ms, or starts it anew. */
  schedule(timer: Timer, delayMs: number): void {
    if (timer.tick >= 0) this.#unlink(timer);
    const now = performance.now();
    if (this.#count === 0) this.#doneTick = Math.floor(now / TICK_MS);
    const tick = Math.max(this.#doneTick + 1, Math.ceil((now + delayMs) / TICK_MS));
    timer.tick = tick;
    const slot = tick % SLOTS;
    const head = this.#slots[slot];
    timer.next = head;
    timer.previous = undefined;
    if (head !== undefined) head.previous = timer;
    this.#slots[slot] = timer;
    this.#count++;
    if (tick < this.#wakeTick) this.#sleepUntil(tick, now);
  }

  /** Like schedule(), unless the timer already ends sooner. */
  scheduleWithin(timer: Timer, delayMs: number): void {
    if (timer.tick >= 0) {
      const endMs = timer.tick * TICK_MS - delayMs - TICK_MS;
      // Time has come at least as far as the wheel; mostly that is enough to know, and the clock needn't be asked.
      if (endMs <= this.#doneTick * TICK_MS || endMs <= performance.now()) return;
    }
    this.schedule(timer, delayMs);
  }

  cancel(timer: Timer): void {
    if (timer.tick >= 0) this.#unlink(timer);
  }

  #unlink(timer: Timer): void {
    const { next, previous } = timer;
    if (previous === undefined) this.#slots[timer.tick % SLOTS] = next;
    else previous.next = next;
    if (next !== undefined) next.previous = previous;
    timer.next = undefined;
    timer.previous = undefined;
    timer.tick = -1;
    this.#count--;
  }

  #sleepUntil(tick: number, now: number): void {
    clearTimeout(this.#wake);
    this.#wakeTick = tick;
    // Node looks at its timers before it reads sockets. After a long turn (a collection, a process that was stopped) a deadline would count as missed though
    // what it waited for has been lying in the socket for long: so that is read first.
    const turn = () => void setImmediate(() => this.#turn());
    this.#wake = setTimeout(turn, Math.min(TIMEOUT_MS_MAX, Math.max(1, tick * TICK_MS - now)));
    // Sockets keep the process alive, waits don't.
    this.#wake.unref();
  }

  #turn(): void {
    this.#wakeTick = Number.POSITIVE_INFINITY;
    const nowTick = Math.floor(performance.now() / TICK_MS);
    const due: Timer[] = [];
    // After a pause of a whole turn or more, each slot needs to be looked at once only.
    const first = Math.max(this.#doneTick + 1, nowTick - TURN + 1);
    for (let tick = first; tick <= nowTick; tick++) {
      for (let timer = this.#slots[tick % SLOTS]; timer !== undefined; timer = timer.next) {
        if (timer.tick <= nowTick) due.push(timer);
      }
    }
    this.#doneTick = Math.max(this.#doneTick, nowTick);
    let at = 0;
    try {
      for (; at < due.length; at++) this.#fire(due[at] as Timer, nowTick);
    } finally {
      // A worker in which something was thrown goes on until it is replaced (workers.ts): the others come next.
      for (const late of due.slice(at + 1)) if (late.tick >= 0 && late.tick <= nowTick) this.schedule(late, 0);
      this.#sleepOn();
    }
  }

  #fire(timer: Timer, nowTick: number): void {
    // One that ran before it may have cancelled or restarted it.
    if (timer.tick < 0 || timer.tick > nowTick) return;
    this.#unlink(timer);
    timer.owner.onTimer(timer.kind);
  }

  /** Sleeps until the next slot with anything in it. */
  #sleepOn(): void {
    if (this.#count === 0) return;
    for (let tick = this.#doneTick + 1; tick <= this.#doneTick + TURN; tick++) {
      if (this.#slots[tick % SLOTS] === undefined) continue;
      if (tick < this.#wakeTick) this.#sleepUntil(tick, performance.now());
      return;
    }
  }
}

/** The wheel of this worker (each worker thread has its own). */
export const timers = new TimerWheel();
