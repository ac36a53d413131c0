import { toBinary } from "@bufbuild/protobuf";

import { ClusterSchema } from "#envoy/config/cluster/v3/cluster_pb.ts";
import { ClusterLoadAssignmentSchema } from "#envoy/config/endpoint/v3/endpoint_pb.ts";
import { resourceType } from "#proto/resource-types.ts";
import type { Service } from "#sluice/model/v1/service_pb.ts";
import type { Upstream } from "#sluice/model/v1/upstream_pb.ts";

import { normalHost } from "../model/hosts.ts";
import { needsDns, toCluster } from "./cluster.ts";
import { type FindSnapshot, toDiscoveredAssignment } from "./discovered.ts";
import { encodeLoadAssignment } from "./endpoint-bytes.ts";
import { clusterName } from "./names.ts";
import { type RankedRoute, toRoutes } from "./route.ts";

/** An encoded resource. */
export interface EncodedResource {
  readonly typeUrl: string;
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** All that one service becomes, before it is joined with others in virtual hosts. */
export interface ServicePart {
  /** What it answers to, in lower case, each once; "*" for every host. */
  readonly hosts: readonly string[];
  readonly routes: readonly RankedRoute[];
  /** Its clusters and their endpoints. */
  readonly resources: readonly EncodedResource[];
}

const cds = resourceType("CDS").typeUrl;
const eds = resourceType("EDS").typeUrl;

/**
 * @param find what registries say
 * @throws when the service is not valid
 */
export function translateService(service: Service, find: FindSnapshot): ServicePart {
  const hosts = service.hosts.length === 0 ? ["*"] : [...new Set(service.hosts.map(normalHost))];
  const resources = service.upstreams.flatMap((upstream): EncodedResource[] => {
    const name = clusterName(service, upstream.name);
    const cluster = { typeUrl: cds, name, bytes: toBinary(ClusterSchema, toCluster(service, upstream)) };
    const endpoints = needsDns(upstream) ? undefined : translateEndpoints(service, upstream, find);
    return endpoints === undefined ? [cluster] : [cluster, endpoints];
  });
  return { hosts, routes: toRoutes(service), resources };
}

/**
 * The endpoints of an upstream by themselves. There are none yet, rather than an empty set, while its registry may still be about to answer
 * for the first time, unless nodes beside it can serve meanwhile: data planes then wait with the cluster.
 */
export function translateEndpoints(
  service: Service,
  upstream: Upstream,
  find: FindSnapshot,
): EncodedResource | undefined {
  const name = clusterName(service, upstream.name);
  const { discovery } = upstream;
  const snapshot = discovery && find(discovery);
  if (discovery !== undefined && snapshot === undefined && upstream.nodes.length === 0) return undefined;
  const bytes =
    discovery === undefined || snapshot === undefined
      ? encodeLoadAssignment(name, upstream)
      : toBinary(ClusterLoadAssignmentSchema, toDiscoveredAssignment(name, upstream, discovery, snapshot));
  return { typeUrl: eds, name, bytes };
}
