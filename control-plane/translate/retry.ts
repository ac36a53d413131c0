import { create } from "@bufbuild/protobuf";

import {
  HeaderMatcherSchema,
  type RetryPolicy,
  RetryPolicySchema,
} from "#envoy/config/route/v3/route_components_pb.ts";
import { PreviousHostsPredicateSchema } from "#envoy/extensions/retry/host/previous_hosts/v3/previous_hosts_pb.ts";
import { RetryOn, type Upstream } from "#sluice/model/v1/upstream_pb.ts";

import { extension } from "./any.ts";
import { regexMatcher } from "./path-match.ts";

/** Envoy's words for the conditions. Those of a newer Sluice are unknown here and left out. */
const conditionNames: ReadonlyMap<RetryOn, string> = new Map([
  [RetryOn.RETRY_ON_CONNECT_FAILURE, "connect-failure"],
  [RetryOn.RETRY_ON_REFUSED_STREAM, "refused-stream"],
  [RetryOn.RETRY_ON_RESET_BEFORE_REQUEST, "reset-before-request"],
  [RetryOn.RETRY_ON_RESET, "reset"],
  [RetryOn.RETRY_ON_GATEWAY_ERROR, "gateway-error"],
  [RetryOn.RETRY_ON_5XX, "5xx"],
  [RetryOn.RETRY_ON_RETRIABLE_4XX, "retriable-4xx"],
]);

/** After these the upstream has certainly not seen the request, so that any method may be repeated. */
const unseen: readonly RetryOn[] = [
  RetryOn.RETRY_ON_CONNECT_FAILURE,
  RetryOn.RETRY_ON_REFUSED_STREAM,
  RetryOn.RETRY_ON_RESET_BEFORE_REQUEST,
];

/** RFC 9110, 9.2.2. */
const IDEMPOTENT_METHODS = "GET|HEAD|OPTIONS|TRACE|PUT|DELETE";

/** How often to look for a node that was not tried yet, before one that was will do. */
const HOST_SELECTION_ATTEMPTS_MAX = 5n;

/** The retries of an upstream; undefined when it has none. */
export function toRetryPolicy(upstream: Upstream): RetryPolicy | undefined {
  if (upstream.retries === 0) return undefined;
  const chosen = upstream.retryOn.length === 0 ? unseen : upstream.retryOn;
  const idempotentOnly = chosen.some((condition) => !unseen.includes(condition));
  return create(RetryPolicySchema, {
    retryOn: chosen.flatMap((condition) => conditionNames.get(condition) ?? []).join(","),
    numRetries: upstream.retries,
    perTryTimeout: upstream.timeouts?.perTry,
    retryHostPredicate: [
      extension(
        "envoy.retry_host_predicates.previous_hosts",
        PreviousHostsPredicateSchema,
        create(PreviousHostsPredicateSchema),
      ),
    ],
    hostSelectionRetryMaxAttempts: HOST_SELECTION_ATTEMPTS_MAX,
    retriableRequestHeaders: idempotentOnly
      ? [
          create(HeaderMatcherSchema, {
            name: ":method",
            headerMatchSpecifier: {
              case: "stringMatch",
              value: { matchPattern: { case: "safeRegex", value: regexMatcher(IDEMPOTENT_METHODS) } },
            },
          }),
        ]
      : [],
  });
}
