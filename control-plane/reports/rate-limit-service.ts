import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { status } from "@grpc/grpc-js";

import {
  type RateLimitRequest,
  type RateLimitResponse,
  RateLimitResponse_Code as Code,
  type RateLimitResponse_DescriptorStatusSchema,
  RateLimitResponseSchema,
  RateLimitService,
} from "#envoy/service/ratelimit/v3/rls_pb.ts";
import type { RateLimitDomain } from "#sluice/model/v1/rate_limit_pb.ts";

import type { MetricsRegistry } from "../observe/metrics.ts";
import type { JoinGuard } from "../xds/join.ts";
import { type PortService, unaryMethod } from "../xds/port-service.ts";
import type { RateLimitCounters } from "./rate-limit-counters.ts";
import { compileDomain, type DomainRules } from "./rate-limit-rules.ts";
import { type Decision, decide } from "./rate-limiter.ts";

const DESCRIPTORS_MAX = 100;
const ENTRIES_MAX = 32;

const OTHERS_DOMAIN = "this takes a join token, or a certificate, of the gateway group whose domain it is";

/** The limits of all gateway groups, by domain. */
export class RateLimits {
  readonly #byDomain = new Map<string, DomainRules>();
  readonly #compiled = new WeakMap<RateLimitDomain, DomainRules>();

  /** Takes all domains as they are now. A domain that is the same object as before is not read again. */
  set(domains: Iterable<{ readonly gatewayGroup: string; readonly domain: RateLimitDomain }>): void {
    this.#byDomain.clear();
    for (const { gatewayGroup, domain } of domains) {
      const rules = this.#compiled.get(domain) ?? compileDomain(gatewayGroup, domain);
      this.#compiled.set(domain, rules);
      this.#byDomain.set(domain.domain, rules);
    }
  }

  get(domain: string): DomainRules | undefined {
    return this.#byDomain.get(domain);
  }
}

export interface RateLimitOptions {
  readonly limits: RateLimits;
  readonly counters: RateLimitCounters;
  readonly join: JoinGuard;
  readonly metrics: MetricsRegistry;
}

/** The rate limit service (RLS) of the xDS port. A caller may ask for the domains of gateway groups that it may join (L4). */
export function rateLimitService({ limits, counters, join, metrics }: RateLimitOptions): PortService {
  const decisions = metrics.counter({
    name: "sluice_rate_limit_decisions_total",
    help: "Descriptors that data planes asked the rate limit service for, by outcome: ok, over_limit, shadowed or no_limit.",
    labels: ["domain", "outcome"],
  });

  const shouldRateLimit = unaryMethod(RateLimitService.method.shouldRateLimit, async (request, { credentials }) => {
    const rules = limits.get(request.domain);
    const refusal =
      rules === undefined ? join.strangerRefusal(credentials) : join.refusal(rules.gatewayGroup, credentials);
    // The gateway group is not what the caller has named, and is none of its business.
    if (refusal !== undefined) return rules === undefined ? refusal : { code: refusal.code, details: OTHERS_DOMAIN };
    const problem = problemOf(request);
    if (problem !== undefined) return { code: status.INVALID_ARGUMENT, details: problem };
    const hits = request.hitsAddend || 1;
    const made = await decide(counters, request.domain, rules, request.descriptors, hits, Date.now());
    for (const decision of made) decisions.add(1, rules === undefined ? "" : request.domain, outcomeOf(decision));
    return responseOf(made);
  });

  return { service: RateLimitService, methods: [shouldRateLimit] };
}

function problemOf({ domain, descriptors }: RateLimitRequest): string | undefined {
  if (domain === "") return "domain is empty";
  if (descriptors.length === 0) return "descriptors: there are none";
  if (descriptors.length > DESCRIPTORS_MAX) return `descriptors: more than ${DESCRIPTORS_MAX}`;
  for (const [at, { entries }] of descriptors.entries()) {
    if (entries.length === 0) return `descriptors[${at}].entries: there are none`;
    if (entries.length > ENTRIES_MAX) return `descriptors[${at}].entries: more than ${ENTRIES_MAX}`;
  }
  return undefined;
}

function outcomeOf({ limit, overLimit }: Decision): string {
  if (limit === undefined) return "no_limit";
  if (!overLimit) return "ok";
  return limit.shadow ? "shadowed" : "over_limit";
}

const isRefused = ({ limit, overLimit }: Decision) => overLimit && limit?.shadow === false;

function responseOf(decisions: readonly Decision[]): RateLimitResponse {
  const overallCode = decisions.some(isRefused) ? Code.OVER_LIMIT : Code.OK;
  return create(RateLimitResponseSchema, {
    overallCode,
    statuses: decisions.map(statusOf),
    responseHeadersToAdd: headersOf(decisions),
  });
}

function statusOf(decision: Decision): MessageInitShape<typeof RateLimitResponse_DescriptorStatusSchema> {
  const { limit, remaining, untilResetMs } = decision;
  if (limit === undefined) return { code: Code.OK };
  const { requestsPerUnit, unit } = limit;
  return {
    code: isRefused(decision) ? Code.OVER_LIMIT : Code.OK,
    currentLimit: { requestsPerUnit, unit },
    limitRemaining: remaining,
    durationUntilReset: durationFromMs(untilResetMs),
  };
}

/** What the client is told of the limit that is nearest (draft-ietf-httpapi-ratelimit-headers-03). */
function headersOf(decisions: readonly Decision[]) {
  let nearest: Decision | undefined;
  for (const each of decisions) {
    if (each.limit !== undefined && (nearest === undefined || each.remaining < nearest.remaining)) nearest = each;
  }
  if (nearest?.limit === undefined) return [];
  return [
    { key: "ratelimit-limit", value: String(nearest.limit.requestsPerUnit) },
    { key: "ratelimit-remaining", value: String(nearest.remaining) },
    { key: "ratelimit-reset", value: String(Math.ceil(nearest.untilResetMs / 1000)) },
  ];
}
