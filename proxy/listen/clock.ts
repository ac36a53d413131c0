import { performance } from "node:perf_hooks";

/** What {@link now} says while it is held; -1: it is not. */
let held = -1;

/** Milliseconds of performance.now(); those of {@link holdClock} while the clock is held. */
export const now = (): number => (held >= 0 ? held : performance.now());

/**
 * Holds the clock for as long as what one read brought is handled: all of it happens at one time, since each look at the clock costs as much as
 * finding a route. What is returned goes to {@link releaseClock}, in any case.
 */
export function holdClock(): number {
  const before = held;
  held = performance.now();
  return before;
}

/** Lets the clock go on. */
export function releaseClock(before: number): void {
  held = before;
}

/** How long the difference between both clocks is taken for what it was; the wall clock may be set. */
const OFFSET_MS = 1_000;
let offset = 0;
let offsetAt = Number.NEGATIVE_INFINITY;

/** A time of {@link now} as ms since 1970. */
export function wallMs(at: number): number {
  if (at - offsetAt > OFFSET_MS) {
    offsetAt = performance.now();
    offset = Date.now() - offsetAt;
  }
  return offset + at;
}

let second = 0;
let text = "";

/** A time of {@link now} as the date field of a response wants it (RFC 9110, 5.6.7); made anew once a second. */
export function httpDate(at: number): string {
  const then = Math.floor(wallMs(at) / 1000);
  if (then !== second) {
    second = then;
    text = new Date(then * 1000).toUTCString();
  }
  return text;
}
