import type { Endpoint } from "../cluster.ts";
import { type Balancer, type MakeBalancer, weighSame } from "./balancer.ts";
import { siftDown } from "./schedule.ts";

/**
 * The endpoint with fewer requests under way (Envoy LeastRequestLoadBalancer): of equals, the best of `choiceCount` drawn at random; of
 * different weights, a schedule in which an endpoint weighs weight / (requests under way + 1).
 */
export const leastRequest =
  (choiceCount: number): MakeBalancer =>
  (endpoints, weightOf) =>
    weighSame(endpoints, weightOf) ? bestOf(endpoints, choiceCount) : byLoad(endpoints, weightOf);

function bestOf(endpoints: readonly Endpoint[], choiceCount: number): Balancer {
  return {
    pick() {
      let best: Endpoint | undefined;
      for (let draw = 0; draw < choiceCount; draw++) {
        const drawn = endpoints[Math.floor(Math.random() * endpoints.length)];
        if (drawn === undefined) return undefined;
        if (best === undefined || drawn.activeRequests < best.activeRequests) best = drawn;
      }
      return best;
    },
  };
}

/** Weights change from pick to pick, so deadlines are counted on from the moment of the pick. */
function byLoad(endpoints: readonly Endpoint[], weightOf: (endpoint: Endpoint) => number): Balancer {
  const interval = (endpoint: Endpoint) => (endpoint.activeRequests + 1) / weightOf(endpoint);
  const slots = endpoints.map((endpoint, order) => ({
    endpoint,
    order,
    // Somewhere within the first interval, so that workers don't begin alike.
    deadline: Math.random() * interval(endpoint),
  }));
  slots.sort((a, b) => a.deadline - b.deadline);
  return {
    pick() {
      const top = slots[0];
      if (top === undefined) return undefined;
      top.deadline += interval(top.endpoint);
      siftDown(slots, 0);
      return top.endpoint;
    },
  };
}
