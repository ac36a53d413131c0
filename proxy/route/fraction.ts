import type { RuntimeFractionalPercent } from "#envoy/config/core/v3/base_pb.ts";
import { FractionalPercent_DenominatorType as Denominator } from "#envoy/type/v3/percent_pb.ts";

import type { Place } from "../compile.ts";

// Runtime values are not supported, so that the default is the value.
const denominators: Readonly<Record<Denominator, number>> = {
  [Denominator.HUNDRED]: 100,
  [Denominator.TEN_THOUSAND]: 10_000,
  [Denominator.MILLION]: 1_000_000,
};

/** The share of requests that a message's `runtime_fraction` says, 1 if it says nothing. `place`: of the message. */
export function compileFraction(
  { runtimeFraction }: { readonly runtimeFraction?: RuntimeFractionalPercent | undefined },
  place: Place,
): number {
  if (runtimeFraction === undefined) return 1;
  const at = place.field("runtime_fraction").field("default_value");
  const denominator = denominators[runtimeFraction.defaultValue?.denominator ?? Denominator.HUNDRED];
  if (runtimeFraction.defaultValue === undefined || denominator === undefined) {
    at.refuse("must be set, and its denominator be known");
    return 0;
  }
  return runtimeFraction.defaultValue.numerator / denominator;
}
