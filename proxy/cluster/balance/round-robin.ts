import { type MakeBalancer, weighSame } from "./balancer.ts";
import { Schedule } from "./schedule.ts";

/** Endpoints take turns, as often as they weigh; each worker begins somewhere else (Envoy RoundRobinLoadBalancer). */
export const roundRobin: MakeBalancer = (endpoints, weightOf) => {
  if (!weighSame(endpoints, weightOf)) {
    const schedule = new Schedule(endpoints, endpoints.map(weightOf), Math.random());
    return { pick: () => schedule.next() };
  }
  let at = Math.floor(Math.random() * endpoints.length);
  return {
    pick() {
      if (at >= endpoints.length) at = 0;
      return endpoints[at++];
    },
  };
};
