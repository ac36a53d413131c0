import { maxRetriesNow } from "../cluster/breakers.ts";
import type { Headers } from "../headers.ts";
import type { ResetReason } from "../reply.ts";
import type { RequestHead } from "../request.ts";
import type { RetryPolicy } from "../route/route.ts";
import type { ClusterContext } from "./cluster-context.ts";

const RETRY_OPEN = "circuit_breakers.default.rq_retry_open";
const HIGH_RETRY_OPEN = "circuit_breakers.high.rq_retry_open";

/** The retries of one request against its policy and the cluster's breaker. */
export class RetryState {
  /** Retries begun so far. */
  count = 0;

  readonly #policy: RetryPolicy;
  readonly #cluster: ClusterContext;
  #held = false;

  constructor(policy: RetryPolicy, cluster: ClusterContext) {
    this.#policy = policy;
    this.#cluster = cluster;
  }

  /** Takes one more retry and returns the ms to wait before it; "limit" or "overflow" when there may be none. */
  take(): number | "limit" | "overflow" {
    const { load, breakers, stats } = this.#cluster;
    this.release();
    if (this.count >= this.#policy.numRetries) {
      stats.upstream_rq_retry_limit_exceeded.inc();
      return "limit";
    }
    if (load.retries >= maxRetriesNow(breakers, load)) {
      stats.upstream_rq_retry_overflow.inc();
      return "overflow";
    }
    this.count++;
    this.#held = true;
    load.retries++;
    this.#showBreaker();
    stats.upstream_rq_retry.inc();
    return backOffMs(this.#policy, this.count);
  }

  /** A retry counts against its breaker until its outcome is known, as in Envoy. */
  release(): void {
    if (!this.#held) return;
    this.#held = false;
    this.#cluster.load.retries--;
    this.#showBreaker();
  }

  #showBreaker(): void {
    const { load, breakers, stats, retryBreaker, isHigh } = this.#cluster;
    const open = load.retries >= maxRetriesNow(breakers, load);
    if (open === retryBreaker.open) return;
    retryBreaker.open = open;
    const gauge = stats[isHigh ? HIGH_RETRY_OPEN : RETRY_OPEN];
    if (open) gauge.inc();
    else gauge.dec();
  }
}

/** Whether a reset is one that the policy tries again after. `requestSent`: something of the request went out on a connection. */
export function retriesReset(policy: RetryPolicy, reason: ResetReason, requestSent: boolean): boolean {
  const { on } = policy;
  switch (reason) {
    case "overflow":
      // Asking again would only add to the overload.
      return false;
    case "remote connection failure":
    case "connection timeout":
      return on.has("connect-failure") || on.has("5xx") || on.has("gateway-error") || on.has("reset");
    case "remote refused stream reset":
      // The endpoint has not looked at the request (RFC 9113, 8.7).
      return on.has("refused-stream") || on.has("5xx") || on.has("gateway-error") || on.has("reset");
    case "per try idle timeout":
    case "per try timeout":
      return on.has("5xx") || on.has("gateway-error") || on.has("reset");
    default:
      return (
        on.has("5xx") ||
        on.has("gateway-error") ||
        on.has("reset") ||
        (on.has("reset-before-request") && !requestSent) ||
        (on.has("connect-failure") && !requestSent)
      );
  }
}

/** The codes of gRPC that a policy can name; as in Envoy, they count only where they are in the head (a trailers-only response). */
const grpcConditions: Readonly<Record<string, string>> = {
  "1": "cancelled",
  "4": "deadline-exceeded",
  "8": "resource-exhausted",
  "13": "internal",
  "14": "unavailable",
};

/** Whether a response head with this grpc-status is one that the policy tries again after. */
function retriesGrpcStatus(policy: RetryPolicy, grpcStatus: string | undefined): boolean {
  const condition = grpcStatus === undefined ? undefined : grpcConditions[grpcStatus];
  return condition !== undefined && policy.on.has(condition);
}

/** Whether a response of this status is one that the policy tries again after. */
function retriesStatus(policy: RetryPolicy, status: number, rateLimited: boolean): boolean {
  const { on } = policy;
  // Envoy: a rate-limited response is retried only where "envoy-ratelimited" says so.
  if (rateLimited) return on.has("envoy-ratelimited");
  if (status >= 500 && on.has("5xx")) return true;
  if (status >= 502 && status <= 504 && on.has("gateway-error")) return true;
  if (status === 409 && on.has("retriable-4xx")) return true;
  return on.has("retriable-status-codes") && policy.retriableStatusCodes.has(status);
}

/** Whether a response with this head is one that the policy tries again after. */
export const retriesResponse = (policy: RetryPolicy, status: number, headers: Headers): boolean =>
  retriesStatus(policy, status, headers.has("x-envoy-ratelimited")) ||
  retriesGrpcStatus(policy, headers.get("grpc-status"));

/** Full jitter: a random wait in [0, (2^attempt - 1) x base), at most max; in ms. `attempt` counts retries from 1. */
function backOffMs(policy: RetryPolicy, attempt: number): number {
  const ceiling = Math.min((2 ** attempt - 1) * policy.backOffBaseMs, policy.backOffMaxMs);
  return Math.floor(Math.random() * ceiling);
}

const IDEMPOTENT = new Set(["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"]);

/** Whether sending the request twice is the same as once (RFC 9110, 9.2.2). */
export const isIdempotent = (head: RequestHead): boolean => IDEMPOTENT.has(head.method);
