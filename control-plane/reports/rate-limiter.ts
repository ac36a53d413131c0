import { hash } from "node:crypto";

import type { RateLimitDescriptor } from "#envoy/extensions/common/ratelimit/v3/ratelimit_pb.ts";

import type { Increment, RateLimitCounters } from "./rate-limit-counters.ts";
import { type DomainRules, type Limit, limitFor, unitMs } from "./rate-limit-rules.ts";

/** What becomes of one descriptor; one without a limit is let through. */
export interface Decision {
  readonly limit: Limit | undefined;
  readonly overLimit: boolean;
  /** What is left in the window. */
  readonly remaining: number;
  readonly untilResetMs: number;
}

/** Counters' keys are at most so long; what is longer is known by its hash. */
const KEY_LENGTH_MAX = 200;

const free: Decision = { limit: undefined, overLimit: false, remaining: 0, untilResetMs: 0 };

/**
 * Decides on the descriptors of one request: each is counted in the window of its limit, whether or not another one is over it, as a
 * request that is refused has been made all the same.
 */
export async function decide(
  counters: RateLimitCounters,
  domain: string,
  rules: DomainRules | undefined,
  descriptors: readonly RateLimitDescriptor[],
  hits: number,
  nowMs: number,
): Promise<readonly Decision[]> {
  const limits = descriptors.map((descriptor) => limitFor(rules, descriptor));
  const increments: Increment[] = [];
  for (const [at, limit] of limits.entries()) {
    const descriptor = descriptors[at];
    if (limit !== undefined && descriptor !== undefined)
      increments.push(incrementOf(domain, rules, descriptor, limit, hits, nowMs));
  }
  const counts = increments.length === 0 ? [] : await counters.add(increments);
  let counted = 0;
  return limits.map((limit) => {
    if (limit === undefined) return free;
    const count = counts[counted] ?? 0;
    const endMs = increments[counted]?.endMs ?? nowMs;
    counted++;
    const left = limit.requestsPerUnit - count;
    return { limit, overLimit: left < 0, remaining: Math.max(0, left), untilResetMs: endMs - nowMs };
  });
}

function incrementOf(
  domain: string,
  rules: DomainRules | undefined,
  { entries }: RateLimitDescriptor,
  { unit }: Limit,
  amount: number,
  nowMs: number,
): Increment {
  const endMs = (Math.floor(nowMs / unitMs[unit]) + 1) * unitMs[unit];
  const text = JSON.stringify([domain, unit, endMs, ...entries.flatMap(({ key, value }) => [key, value])]);
  const key = text.length <= KEY_LENGTH_MAX ? text : hash("sha256", text, "base64");
  // Domains that nobody has written are as many as callers like.
  return { key, owner: rules === undefined ? "" : domain, amount, endMs };
}
