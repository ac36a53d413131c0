import type { Canonical } from "./canonical.ts";
import type { Doubt } from "./source.ts";

/** An empty answer that is not believed yet. */
export interface Held extends Doubt {
  readonly answer: Canonical;
}

/** What is served of a service, and what is held back. */
export interface Admitted {
  readonly served: Canonical | undefined;
  readonly held: Held | undefined;
}

/** How an answer came. */
export interface Arrival {
  /** Milliseconds since 1970, to be shown. */
  readonly nowMs: number;
  /** The first answer of a watch that was begun anew. */
  readonly first: boolean;
  /** How long emptiness is doubted; 0: not at all. */
  readonly holdEmptyMs: number;
}

/**
 * Decides whether an answer is served. A registry that comes back with nothing has more likely lost its memory than all instances of a
 * service: such an answer is held for a time, while the last good one is served on. In the normal course of one watch, what the
 * registry takes away is gone at once.
 *
 * Instances of which none is usable count as nothing: a registry that has just started calls them unhealthy until its checks have run
 * (Consul's begin critical), and to serve none of them is worse than to serve those that were good a moment ago.
 */
export function admit(current: Admitted, answer: Canonical, { nowMs, first, holdEmptyMs }: Arrival): Admitted {
  const { served, held } = current;
  const losesAll = answer.usableCount === 0 && served !== undefined && served.usableCount > 0;
  if (!losesAll || holdEmptyMs === 0) return { served: answer, held: undefined };
  // Still empty: the time that was set runs on.
  if (held !== undefined) return { served, held: { ...held, answer } };
  const reason = doubt(served, answer, first);
  if (reason === undefined) return { served: answer, held: undefined };
  return { served, held: { answer, sinceMs: nowMs, untilMs: nowMs + holdEmptyMs, reason } };
}

/** The time of what is held is over, by a clock that nobody sets: it is believed. */
export function release(current: Admitted): Admitted {
  return current.held === undefined ? current : { served: current.held.answer, held: undefined };
}

function doubt(served: Canonical, answer: Canonical, first: boolean): string | undefined {
  const before = served.clusterIdentity;
  const now = answer.clusterIdentity;
  if (before !== "" && now !== "" && before !== now) return "the registry is another cluster than before";
  const what = answer.unknownService
    ? "knows no such service"
    : answer.endpointCount === 0
      ? "has no instances"
      : "calls all instances unusable";
  if (first) return `the registry ${what} right after it was connected to again`;
  return answer.discontinuous ? `the registry ${what}, and can't say what happened: ${DISCONTINUOUS}` : undefined;
}

const DISCONTINUOUS = "it started anew, or keeps no history";
