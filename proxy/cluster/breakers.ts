import type { CircuitBreakers_Thresholds } from "#envoy/config/cluster/v3/circuit_breaker_pb.ts";

import type { Breakers, ClusterLoad } from "./cluster.ts";

/** Envoy's defaults (proxy-parity 3.9). */
const BREAKER_DEFAULT = 1024;
const MAX_RETRIES_DEFAULT = 3;
const BUDGET_PERCENT_DEFAULT = 20;

/** The limits of a priority's thresholds; undefined: none are set. */
export const breakersOf = (thresholds: CircuitBreakers_Thresholds | undefined): Breakers => ({
  maxConnections: thresholds?.maxConnections ?? BREAKER_DEFAULT,
  maxPendingRequests: thresholds?.maxPendingRequests ?? BREAKER_DEFAULT,
  maxRequests: thresholds?.maxRequests ?? BREAKER_DEFAULT,
  maxRetries: thresholds?.maxRetries ?? MAX_RETRIES_DEFAULT,
  retryBudget: thresholds?.retryBudget && {
    share: (thresholds.retryBudget.budgetPercent?.value ?? BUDGET_PERCENT_DEFAULT) / 100,
    min: thresholds.retryBudget.minRetryConcurrency ?? MAX_RETRIES_DEFAULT,
  },
});

/** How many retries there may be at the moment (Envoy RetryBudgetImpl::max). */
export const maxRetriesNow = ({ maxRetries, retryBudget }: Breakers, { requests }: ClusterLoad): number =>
  retryBudget === undefined ? maxRetries : Math.max(retryBudget.min, Math.floor(retryBudget.share * requests));
