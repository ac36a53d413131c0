import type { GatewayGroup } from "#sluice/model/v1/gateway_group_pb.ts";
import { type RateLimitDescriptor, RateLimitUnit } from "#sluice/model/v1/rate_limit_pb.ts";

import { quoted, type Report } from "./problem.ts";
import type { State } from "./validate.ts";

/** Entries of a descriptor; longer ones are a mistake. */
const DEPTH_MAX = 8;

/** Reports what is wrong with the rate limits of a gateway group beyond the rules of their .proto. */
export function checkRateLimits({ name, rateLimits }: GatewayGroup, after: State, report: Report): void {
  for (const [at, { domain, descriptors }] of rateLimits.entries()) {
    const field = `rateLimits[${at}]`;
    const owner = ownerOf(domain, name, after);
    if (rateLimits.findIndex((other) => other.domain === domain) < at) {
      report(
        `${field}.domain`,
        "duplicate",
        `${quoted(domain)} is the domain of another entry too; domains are unique`,
      );
    } else if (owner !== undefined) {
      const why = `${quoted(domain)} is a domain of the gateway group ${quoted(owner)} too`;
      report(`${field}.domain`, "duplicate", `${why}; data planes name nothing but the domain, so that it is unique`);
    }
    checkDescriptors(`${field}.descriptors`, descriptors, 1, report);
  }
}

/** Another gateway group that has the domain. */
function ownerOf(domain: string, own: string, after: State): string | undefined {
  for (const { name, rateLimits } of after.gatewayGroups()) {
    if (name !== own && rateLimits.some((other) => other.domain === domain)) return name;
  }
  return undefined;
}

function checkDescriptors(
  field: string,
  descriptors: readonly RateLimitDescriptor[],
  depth: number,
  report: Report,
): void {
  const seen = new Map<string, number>();
  for (const [at, descriptor] of descriptors.entries()) {
    const { key, value, rateLimit, descriptors: next, shadowMode } = descriptor;
    const own = `${field}[${at}]`;
    const before = seen.get(JSON.stringify([key, value]));
    if (before === undefined) seen.set(JSON.stringify([key, value]), at);
    else report(own, "duplicate", `has key and value of ${field}[${before}]; only one can count`);
    if (rateLimit === undefined && next.length === 0) {
      report(own, "required", "limits nothing: set rateLimit, or descriptors that go on");
    }
    if (rateLimit?.unit === RateLimitUnit.UNSPECIFIED) {
      report(`${own}.rateLimit.unit`, "required", "is missing: one of second, minute, hour, day, month, year");
    }
    if (rateLimit === undefined && shadowMode) {
      report(`${own}.shadowMode`, "not_applicable", "is for a limit; set rateLimit, or leave it out");
    }
    if (next.length > 0 && depth === DEPTH_MAX) {
      report(`${own}.descriptors`, "too_deep", `goes deeper than ${DEPTH_MAX} entries`);
    } else checkDescriptors(`${own}.descriptors`, next, depth + 1, report);
  }
}
