import { create } from "@bufbuild/protobuf";
import { timestampFromDate, timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";

import { NodeState, type ProxyNode, ProxyNodeSchema, type StatusService } from "#sluice/admin/v1/status_service_pb.ts";

import type { Rollouts } from "../rollout/tracker.ts";
import type { Store } from "../store/store.ts";
import type { NodeRegistry, NodeStatus } from "../xds/status.ts";
import type { Deliver } from "./deliver.ts";
import { nodeResources } from "./node-resources.ts";
import { pageOf } from "./pages.ts";
import { objectMessage } from "./rollout-messages.ts";

/** What the status is made of. */
export interface StatusSources {
  /** Of the program. */
  readonly version: string;
  readonly startTime: Date;
  readonly store: Store;
  readonly nodes: NodeRegistry;
  readonly rollouts: Rollouts;
  /** HOST:PORT that data planes connect to. */
  readonly xdsAddress: string;
}

/** The control plane and the data planes connected to it. */
export function statusService(sources: StatusSources, deliver: Deliver): ServiceImpl<typeof StatusService> {
  const { version, startTime, store, nodes, xdsAddress } = sources;
  return {
    async getStatus() {
      const { revision, lastChangeTime } = store.state;
      return {
        version,
        revision,
        store: store.kind,
        startTime: timestampFromDate(startTime),
        ...(lastChangeTime !== undefined && { lastChangeTime: timestampFromDate(lastChangeTime) }),
        xdsAddress,
        connectedNodes: nodes.connectedNodes,
      };
    },

    async listNodes(request) {
      const { items, nextPageToken } = pageOf(
        request,
        ["nodes", request.gatewayGroup],
        (after) => nodesAfter(nodes.list(), request.gatewayGroup, after),
        ({ gatewayGroup, id }) => [gatewayGroup, id],
      );
      return { nodes: items.map((node) => nodeMessage(node, sources.rollouts)), nextPageToken };
    },

    ...nodeResources(sources, deliver),
  };
}

function nodesAfter(nodes: readonly NodeStatus[], only: string, after: readonly string[] | undefined): NodeStatus[] {
  const [afterGroup = "", afterId = ""] = after ?? [];
  return nodes.filter(({ gatewayGroup, id }) => {
    if (only !== "" && gatewayGroup !== only) return false;
    return after === undefined || gatewayGroup > afterGroup || (gatewayGroup === afterGroup && id > afterId);
  });
}

const states: Record<NodeStatus["state"], NodeState> = {
  synced: NodeState.SYNCED,
  stale: NodeState.STALE,
  nacked: NodeState.NACKED,
  disconnected: NodeState.DISCONNECTED,
  unknown_group: NodeState.UNKNOWN_GROUP,
};

const timeOf = (ms: number | undefined) => (ms === undefined ? undefined : timestampFromMs(ms));

/** Of a type that a data plane refused resources of, so many are told. */
const REFUSALS_MAX = 20;

function nodeMessage(node: NodeStatus, rollouts: Rollouts): ProxyNode {
  const { id, gatewayGroup, kind, version, address } = node;
  return create(ProxyNodeSchema, {
    ...{ id, gatewayGroup, kind, version, address },
    state: states[node.state],
    connectTime: timeOf(node.connectTimeMs),
    lastSyncTime: timeOf(node.lastSyncTimeMs),
    disconnectTime: timeOf(node.disconnectTimeMs),
    problems: [...node.problems],
    types: node.types.map(({ typeUrl, sentVersion, acceptedVersion, resources, nack, ...type }) => ({
      ...{ typeUrl, sentVersion, acceptedVersion, resources, nack },
      lastAckTime: timeOf(type.lastAckTimeMs),
      lastNackTime: timeOf(type.lastNackTimeMs),
      missing: [...type.missing],
      refusals: [...type.refusals].slice(0, REFUSALS_MAX).map(([name, reason]) => ({
        ...{ typeUrl, name, reason },
        objects: rollouts.objectsOf(gatewayGroup, typeUrl, name, reason).map(objectMessage),
      })),
    })),
  });
}
