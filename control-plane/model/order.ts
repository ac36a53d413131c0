/**
 * The order in which routes are tried: Envoy takes the first that matches, so the compiler puts the one that the
 * operator means first. It is total, and depends on nothing but the routes.
 */
import type { PathPattern, Segment } from "./paths.ts";

/** What decides the place of a route under one of its paths. */
export interface RouteRank {
  /** The whole pattern, the service's path prefix included. */
  readonly pattern: PathPattern;
  readonly priority: number;
  readonly hasVars: boolean;
  readonly hasMethods: boolean;
  readonly service: string;
  /** The route's place in its service. */
  readonly position: number;
}

const segmentRanks: Record<Segment["kind"], number> = { literal: 0, parameter: 1, wildcard: 2 };

/**
 * The more specific pattern first: exact ones, then segment by segment a literal before a parameter before the
 * wildcard, which puts the longer prefix before the shorter. 0 for patterns that match the same paths. Of patterns
 * that no path can match both, the order is by text: any would do, but it must not depend on how the routes came in.
 */
export function comparePatterns(a: PathPattern, b: PathPattern): number {
  const byExactness = Number(isExact(b)) - Number(isExact(a));
  if (byExactness !== 0) return byExactness;
  for (const [at, left] of a.entries()) {
    const right = b[at];
    if (right === undefined) return 1;
    const byKind = segmentRanks[left.kind] - segmentRanks[right.kind];
    if (byKind !== 0) return byKind;
    if (left.kind === "literal" && right.kind === "literal" && left.text !== right.text) {
      return left.text < right.text ? -1 : 1;
    }
  }
  return a.length - b.length;
}

/** Whether a pattern matches one path only. */
export const isExact = (pattern: PathPattern): boolean => pattern.every(({ kind }) => kind === "literal");

/**
 * Negative when `a` is tried before `b`. Path before priority: a high priority never lifts a short prefix over a
 * longer one. Of routes with equal path and priority, one with conditions goes before one without, since after it it
 * would never be reached; then the order of the file decides, and between services (one host, two services) their names.
 */
export function compareRoutes(a: RouteRank, b: RouteRank): number {
  return (
    comparePatterns(a.pattern, b.pattern) ||
    b.priority - a.priority ||
    Number(b.hasVars) - Number(a.hasVars) ||
    Number(b.hasMethods) - Number(a.hasMethods) ||
    compareText(a.service, b.service) ||
    a.position - b.position
  );
}

/** By code units: the same on every machine, unlike localeCompare. */
export const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
