import { create } from "@bufbuild/protobuf";
import { timestampFromDate, timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";

import {
  GetStatusRequestSchema,
  GetStatusResponseSchema,
  type ListNodesRequest,
  ListNodesResponseSchema,
  NodeState,
  type ProxyNode,
  ProxyNodeSchema,
  StatusService,
} from "#sluice/admin/v1/status_service_pb.ts";

import type { Peers } from "../peers/peers.ts";
import type { Rollouts } from "../rollout/tracker.ts";
import type { Store } from "../store/store.ts";
import type { NodeRegistry, NodeStatus } from "../xds/status.ts";
import { answerPeers, askPeers, pageOfParts } from "./ask-peers.ts";
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
  /** The other control planes on the store. Default: none. */
  readonly peers?: Peers | undefined;
}

const { getStatus, listNodes } = StatusService.method;

/** The control plane, and the data planes of all control planes on its store. */
export function statusService(sources: StatusSources, deliver: Deliver): ServiceImpl<typeof StatusService> {
  const { version, startTime, store, nodes, xdsAddress, peers } = sources;
  answerPeers(peers, getStatus, () =>
    create(GetStatusResponseSchema, { connectedNodes: nodes.connectedNodes, controlPlanes: 1 }),
  );
  answerPeers(peers, listNodes, (request) => create(ListNodesResponseSchema, ownNodes(sources, request)));
  return {
    async getStatus() {
      const { revision, lastChangeTime } = store.state;
      const { answers, silent } = await askPeers(peers, getStatus, create(GetStatusRequestSchema));
      return {
        version,
        revision,
        store: store.kind,
        startTime: timestampFromDate(startTime),
        ...(lastChangeTime !== undefined && { lastChangeTime: timestampFromDate(lastChangeTime) }),
        xdsAddress,
        connectedNodes: answers.reduce((sum, { connectedNodes }) => sum + connectedNodes, nodes.connectedNodes),
        controlPlanes: 1 + answers.length + silent.length,
        silentControlPlanes: [...silent],
      };
    },

    async listNodes(request) {
      const own = ownNodes(sources, request);
      const { answers, silent } = await askPeers(peers, listNodes, request);
      const parts = [own, ...answers.map((answer) => ({ ...answer, items: answer.nodes }))];
      const { items, nextPageToken } = pageOfParts(request, listOf(request), parts, keyOf, newer);
      return { nodes: [...items], nextPageToken, silentControlPlanes: [...silent] };
    },

    ...nodeResources(sources, deliver),
  };
}

const listOf = ({ gatewayGroup }: ListNodesRequest) => ["nodes", gatewayGroup];

const keyOf = ({ gatewayGroup, id }: Pick<ProxyNode, "gatewayGroup" | "id">) => [gatewayGroup, id];

/** The data planes of this control plane. */
function ownNodes({ nodes, rollouts, peers }: StatusSources, request: ListNodesRequest) {
  const { items, nextPageToken } = pageOf(
    request,
    listOf(request),
    (after) => nodesAfter(nodes.list(), request.gatewayGroup, after),
    keyOf,
  );
  const messages = items.map((node) => nodeMessage(node, rollouts, peers?.self ?? ""));
  return { items: messages, nodes: messages, nextPageToken };
}

/** A data plane may have gone over to another control plane: where it is connected, or was last. */
function newer(a: ProxyNode, b: ProxyNode): ProxyNode {
  const sinceMs = ({ connectTime }: ProxyNode) => (connectTime === undefined ? 0 : timestampMs(connectTime));
  const [aIsGone, bIsGone] = [a, b].map(({ state }) => state === NodeState.DISCONNECTED);
  if (aIsGone !== bIsGone) return aIsGone ? b : a;
  return sinceMs(a) < sinceMs(b) ? b : a;
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

function nodeMessage(node: NodeStatus, rollouts: Rollouts, controlPlane: string): ProxyNode {
  const { id, gatewayGroup, kind, version, address } = node;
  return create(ProxyNodeSchema, {
    ...{ id, gatewayGroup, kind, version, address, controlPlane },
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
