import type { Discovery } from "#sluice/model/v1/upstream_pb.ts";

type DiscoveredService = Pick<Discovery, "registry" | "service" | "namespace" | "group" | "cluster">;

/** What of a registry an upstream needs: upstreams with the same key of one gateway group share a watch. */
export const discoveryKey = ({ registry, service, namespace, group, cluster }: DiscoveredService): string =>
  JSON.stringify([registry, service, namespace, group, cluster]);
