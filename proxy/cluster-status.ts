import type { ClusterStatus } from "./admin/source.ts";

/** The clusters as several workers tell of them: what is configured from the first, requests under way from all together. */
export function mergeClusters(answers: readonly (readonly ClusterStatus[])[]): ClusterStatus[] {
  const [first = [], ...others] = answers;
  const active = new Map<string, number>();
  const key = (cluster: string, address: string, port: number) => `${cluster} ${address} ${port}`;
  for (const { name, endpoints } of others.flat()) {
    for (const { address, port, activeRequests } of endpoints) {
      const at = key(name, address, port);
      active.set(at, (active.get(at) ?? 0) + activeRequests);
    }
  }
  return first.map((cluster) => ({
    ...cluster,
    endpoints: cluster.endpoints.map((endpoint) => ({
      ...endpoint,
      activeRequests: endpoint.activeRequests + (active.get(key(cluster.name, endpoint.address, endpoint.port)) ?? 0),
    })),
  }));
}
