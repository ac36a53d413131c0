import type { RateLimitDescriptor as Asked } from "#envoy/extensions/common/ratelimit/v3/ratelimit_pb.ts";
import { RateLimitUnit as EnvoyUnit } from "#envoy/type/v3/ratelimit_unit_pb.ts";
import {
  type RateLimitDescriptor,
  type RateLimitDomain,
  RateLimitUnit as ModelUnit,
} from "#sluice/model/v1/rate_limit_pb.ts";

/** As in Envoy's enums; the model's have the same numbers. */
export type Unit = 1 | 2 | 3 | 4 | 5 | 6;

/** How long a unit's window is; months and years are of 30 and 365 days, so that windows need no calendar. */
export const unitMs: Record<Unit, number> = {
  [ModelUnit.SECOND]: 1_000,
  [ModelUnit.MINUTE]: 60_000,
  [ModelUnit.HOUR]: 3_600_000,
  [ModelUnit.DAY]: 86_400_000,
  [ModelUnit.MONTH]: 30 * 86_400_000,
  [ModelUnit.YEAR]: 365 * 86_400_000,
};

/** What holds for a descriptor. */
export interface Limit {
  readonly requestsPerUnit: number;
  readonly unit: Unit;
  /** Counts and refuses nothing. */
  readonly shadow: boolean;
}

interface Rule {
  readonly limit: Limit | undefined;
  readonly byEntry: ReadonlyMap<string, Rule>;
}

/** The limits of one domain. */
export interface DomainRules {
  readonly gatewayGroup: string;
  readonly root: Rule;
}

/** Makes a domain's limits quick to find. */
export const compileDomain = (gatewayGroup: string, { descriptors }: RateLimitDomain): DomainRules => ({
  gatewayGroup,
  root: { limit: undefined, byEntry: compile(descriptors) },
});

const compile = (descriptors: readonly RateLimitDescriptor[]): Map<string, Rule> =>
  new Map(
    descriptors.map(({ key, value, rateLimit, shadowMode, descriptors: next }) => {
      const { requestsPerUnit = 0, unit = 0 } = rateLimit ?? {};
      const limit = isUnit(unit) ? { requestsPerUnit, unit, shadow: shadowMode } : undefined;
      return [entryKey(key, value), { limit, byEntry: compile(next) }];
    }),
  );

/** What an entry of a descriptor is found by; the value is empty where any will do. */
const entryKey = (key: string, value: string) => JSON.stringify([key, value]);

const isUnit = (unit: number): unit is Unit => unit >= EnvoyUnit.SECOND && unit <= EnvoyUnit.YEAR;

/**
 * The limit for a descriptor: its own (an override), or the one of the rule at which it ends. At each entry a rule for its very value goes
 * before one for any value, and there is no way back from it.
 */
export function limitFor(rules: DomainRules | undefined, { entries, limit: own }: Asked): Limit | undefined {
  if (own !== undefined && isUnit(own.unit)) {
    return { requestsPerUnit: own.requestsPerUnit, unit: own.unit, shadow: false };
  }
  let rule = rules?.root;
  for (const { key, value } of entries) {
    rule = rule?.byEntry.get(entryKey(key, value)) ?? rule?.byEntry.get(entryKey(key, ""));
    if (rule === undefined) return undefined;
  }
  return rule?.limit;
}
