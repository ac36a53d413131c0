import { create } from "@bufbuild/protobuf";

import { type ClusterLoadAssignment, ClusterLoadAssignmentSchema } from "#envoy/config/endpoint/v3/endpoint_pb.ts";
import {
  type LbEndpoint,
  LbEndpointSchema,
  type LocalityLbEndpoints,
  LocalityLbEndpointsSchema,
} from "#envoy/config/endpoint/v3/endpoint_components_pb.ts";
import type { Node, Upstream } from "#sluice/model/v1/upstream_pb.ts";

const WEIGHT_DEFAULT = 1;

/**
 * The nodes of an upstream; present even with none, or data planes would wait for it (W3). Of the operator's
 * priorities the highest is tried first, of Envoy's the lowest, which begin with 0 and leave no gap.
 */
export function toLoadAssignment(clusterName: string, upstream: Upstream): ClusterLoadAssignment {
  return create(ClusterLoadAssignmentSchema, { clusterName, endpoints: nodesByPriority(upstream).map(locality) });
}

/** The nodes that get traffic, by Envoy's priorities. */
export function nodesByPriority({ nodes }: Upstream): (readonly Node[])[] {
  // Weight 0 means no traffic; Envoy takes weights from 1.
  const used = nodes.filter((node) => weightOf(node) > 0);
  const byPriority = Map.groupBy(used, ({ priority }) => priority);
  return [...byPriority].sort(([a], [b]) => b - a).map(([, ofPriority]) => ofPriority);
}

const locality = (nodes: readonly Node[], priority: number): LocalityLbEndpoints =>
  create(LocalityLbEndpointsSchema, {
    priority,
    lbEndpoints: nodes.map(lbEndpoint),
  });

const lbEndpoint = (node: Node): LbEndpoint =>
  create(LbEndpointSchema, {
    hostIdentifier: {
      case: "endpoint",
      value: {
        // What auto_host_rewrite sends as Host (pass_host: node).
        hostname: node.host,
        address: {
          address: {
            case: "socketAddress",
            value: { address: node.host, portSpecifier: { case: "portValue", value: node.port } },
          },
        },
      },
    },
    loadBalancingWeight: weightOf(node),
  });

/** Of a node without a weight, 1. */
export const weightOf = ({ weight }: Node) => weight ?? WEIGHT_DEFAULT;
