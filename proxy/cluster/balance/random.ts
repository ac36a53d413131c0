import type { MakeBalancer } from "./balancer.ts";

/** Any endpoint; weights count for nothing, as in Envoy's RandomLoadBalancer. */
export const random: MakeBalancer = (endpoints) => ({
  pick: () => endpoints[Math.floor(Math.random() * endpoints.length)],
});
