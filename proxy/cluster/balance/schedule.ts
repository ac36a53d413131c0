/**
 * Earliest deadline first: item k, of weight w, has its n-th turn at time n / w, and turns are taken in order of time (Envoy EdfScheduler).
 * Shares hold exactly: in every period of as many turns as the weights' sum, each item has as many turns as it weighs. Deadlines are made
 * anew from the turns taken in the period, not summed up, so that rounding never adds up either.
 */
export class Schedule<T> {
  readonly #slots: Slot<T>[];
  readonly #period: number;
  #turns: number;

  /**
   * `weights` are whole numbers above 0. `start`, in [0, 1), is where in its period the schedule begins: workers and proxies that
   * all began at 0 would send their first requests to the same item.
   */
  constructor(items: readonly T[], weights: readonly number[], start: number) {
    const divisor = weights.reduce(greatestCommonDivisor, 0) || 1;
    this.#slots = items.map((item, order) => {
      const weight = (weights[order] ?? 1) / divisor;
      const turns = Math.floor(start * weight);
      return { item, weight, order, turns, deadline: (turns + 1) / weight };
    });
    this.#period = this.#slots.reduce((sum, { weight }) => sum + weight, 0);
    this.#turns = this.#slots.reduce((sum, { turns }) => sum + turns, 0);
    for (let at = (this.#slots.length >> 1) - 1; at >= 0; at--) siftDown(this.#slots, at);
  }

  /** Whose turn it is. Undefined: there are no items. */
  next(): T | undefined {
    const slots = this.#slots;
    const top = slots[0];
    if (top === undefined) return undefined;
    top.turns++;
    top.deadline = (top.turns + 1) / top.weight;
    if (++this.#turns === this.#period) this.#restart();
    else siftDown(slots, 0);
    return top.item;
  }

  /** At the end of a period everybody has had all their turns, and the numbers begin again before they grow large. */
  #restart(): void {
    this.#turns = 0;
    for (const slot of this.#slots) {
      slot.turns = 0;
      slot.deadline = 1 / slot.weight;
    }
    for (let at = (this.#slots.length >> 1) - 1; at >= 0; at--) siftDown(this.#slots, at);
  }
}

/** What a binary heap by deadline holds; of equal deadlines the earlier in the list goes first. */
export interface HeapSlot {
  deadline: number;
  readonly order: number;
}

interface Slot<T> extends HeapSlot {
  readonly item: T;
  readonly weight: number;
  turns: number;
}

const before = (a: HeapSlot, b: HeapSlot) =>
  a.deadline < b.deadline || (a.deadline === b.deadline && a.order < b.order);

/** Restores the heap below a slot whose deadline grew. */
export function siftDown<S extends HeapSlot>(slots: S[], from: number): void {
  const slot = slots[from];
  if (slot === undefined) return;
  let at = from;
  for (;;) {
    let below = 2 * at + 1;
    let least = slots[below];
    if (least === undefined) break;
    const right = slots[below + 1];
    if (right !== undefined && before(right, least)) {
      least = right;
      below++;
    }
    if (!before(least, slot)) break;
    slots[at] = least;
    at = below;
  }
  slots[at] = slot;
}

function greatestCommonDivisor(a: number, b: number): number {
  let x = a;
  let y = b;
  while (y !== 0) [x, y] = [y, x % y];
  return x;
}
