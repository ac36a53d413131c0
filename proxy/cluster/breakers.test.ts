/** The limits of a priority's thresholds, and what a retry budget comes to. */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { expect, test } from "vitest";

import { CircuitBreakers_ThresholdsSchema } from "#envoy/config/cluster/v3/circuit_breaker_pb.ts";

import { breakersOf, maxRetriesNow } from "./breakers.ts";

const retries = (thresholds: MessageInitShape<typeof CircuitBreakers_ThresholdsSchema>, requests: number) =>
  maxRetriesNow(breakersOf(create(CircuitBreakers_ThresholdsSchema, thresholds)), {
    ...{ connections: 0, pending: 0, retries: 0 },
    requests,
  });

test("what is not set is as in Envoy", () => {
  expect(breakersOf(undefined)).toMatchObject({
    ...{ maxConnections: 1024, maxPendingRequests: 1024, maxRequests: 1024 },
    maxRetries: 3,
  });
});

test.each<[MessageInitShape<typeof CircuitBreakers_ThresholdsSchema>, number, number]>([
  [{}, 100, 3],
  [{ maxRetries: 7 }, 100, 7],
  [{ maxRetries: 7, retryBudget: {} }, 10, 3],
  [{ retryBudget: {} }, 100, 20],
  [{ retryBudget: { budgetPercent: { value: 50 }, minRetryConcurrency: 1 } }, 1, 1],
  [{ retryBudget: { budgetPercent: { value: 50 }, minRetryConcurrency: 1 } }, 9, 4],
])("%j with %i requests under way: %i retries", (thresholds, requests, expected) => {
  expect(retries(thresholds, requests)).toBe(expected);
});
