import type { CircuitBreakers_Thresholds } from "#envoy/config/cluster/v3/circuit_breaker_pb.ts";

import type { Breakers } from "./cluster.ts";

/** Envoy's defaults (proxy-parity 3.9). */
const BREAKER_DEFAULT = 1024;
const MAX_RETRIES_DEFAULT = 3;

/** The limits of a priority's thresholds; undefined: none are set. */
export const breakersOf = (thresholds: CircuitBreakers_Thresholds | undefined): Breakers => ({
  maxConnections: thresholds?.maxConnections ?? BREAKER_DEFAULT,
  maxPendingRequests: thresholds?.maxPendingRequests ?? BREAKER_DEFAULT,
  maxRequests: thresholds?.maxRequests ?? BREAKER_DEFAULT,
  maxRetries: thresholds?.maxRetries ?? MAX_RETRIES_DEFAULT,
});
