import type { RetryPolicy as RetryPolicyMessage } from "#envoy/config/route/v3/route_components_pb.ts";

import { durationMs, type Place } from "../compile.ts";
import { compileHeaderMatcher } from "./matchers.ts";
import type { RetryPolicy } from "./route.ts";

/** Envoy's RetryStateImpl: 25 ms unless told, and ten times the base at most. */
const BACK_OFF_BASE_MS_DEFAULT = 25;
const BACK_OFF_MAX_FACTOR = 10;

/** Conditions that the data path knows. retriable-headers needs matchers of response headers, which there are none of. */
const conditions: ReadonlySet<string> = new Set([
  "5xx",
  "gateway-error",
  "reset",
  "reset-before-request",
  "connect-failure",
  "envoy-ratelimited",
  "retriable-4xx",
  "refused-stream",
  "retriable-status-codes",
  "cancelled",
  "deadline-exceeded",
  "internal",
  "resource-exhausted",
  "unavailable",
]);

const PREVIOUS_HOSTS = "envoy.retry_host_predicates.previous_hosts";

/** Compiles a RetryPolicy, of a route or of its virtual host; a route's replaces the other entirely. */
export function compileRetryPolicy(policy: RetryPolicyMessage, place: Place): RetryPolicy {
  const on = new Set(policy.retryOn.split(",").map((word) => word.trim()));
  on.delete("");
  for (const word of on) {
    if (!conditions.has(word)) place.field("retry_on").refuse(`${JSON.stringify(word)} is not supported`);
  }
  const backOffBaseMs = Math.max(1, durationMs(policy.retryBackOff?.baseInterval, BACK_OFF_BASE_MS_DEFAULT));
  const backOffMaxMs = durationMs(policy.retryBackOff?.maxInterval, backOffBaseMs * BACK_OFF_MAX_FACTOR);
  if (backOffMaxMs < backOffBaseMs) {
    place.field("retry_back_off").field("max_interval").refuse("must not be less than base_interval");
  }
  policy.retryHostPredicate.forEach(({ name }, index) => {
    if (name === PREVIOUS_HOSTS) return;
    place.item("retry_host_predicate", index).refuse(`${JSON.stringify(name)} is not supported`);
  });
  const avoidsPrevious = policy.retryHostPredicate.length > 0;
  const drawsMore = Number(policy.hostSelectionRetryMaxAttempts) || 1;
  if (drawsMore < 0) place.field("host_selection_retry_max_attempts").refuse("must not be negative");
  const matchers = policy.retriableRequestHeaders.flatMap((matcher, index) => {
    const test = compileHeaderMatcher(matcher, place.item("retriable_request_headers", index));
    return test === undefined ? [] : [test];
  });
  return {
    on,
    numRetries: policy.numRetries ?? 1,
    perTryTimeoutMs: durationMs(policy.perTryTimeout, 0),
    perTryIdleTimeoutMs: durationMs(policy.perTryIdleTimeout, 0),
    retriableStatusCodes: new Set(policy.retriableStatusCodes),
    applies: (head) => matchers.length === 0 || matchers.some((test) => test(head)),
    backOffBaseMs,
    backOffMaxMs,
    // Envoy draws once, and then up to so many times more while it finds a host that was tried before.
    hostSelectionAttempts: avoidsPrevious ? 1 + Math.min(drawsMore, 100) : 1,
  };
}
