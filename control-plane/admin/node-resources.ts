import { create } from "@bufbuild/protobuf";
import { Code, ConnectError, type ServiceImpl } from "@connectrpc/connect";

import {
  type NodeResource,
  NodeResourceSchema,
  ResourceState,
  StatusService,
  type WatchNodeResourcesRequest,
  WatchNodeResourcesRequestSchema,
  WatchNodeResourcesResponseSchema,
} from "#sluice/admin/v1/status_service_pb.ts";

import type { Peers } from "../peers/peers.ts";
import type { Rollouts } from "../rollout/tracker.ts";
import type { NodeIdentity, NodeRegistry, ResourceState as State, ResourceStatus } from "../xds/status.ts";
import { answerPeers, askPeers } from "./ask-peers.ts";
import type { Deliver } from "./deliver.ts";
import { pageOf } from "./pages.ts";
import { objectMessage } from "./rollout-messages.ts";
import { Wake } from "./wake.ts";

/** Each looks over all resources of a data plane again and again, so there may be few. */
const WATCHES_MAX = 64;
const PAUSE_MS = 250;

/** While other control planes are asked, they are asked again so often. */
const PEERS_PAUSE_MS = 1_000;

/** What the resources of data planes are told from. */
export interface NodeResourceSources {
  readonly nodes: NodeRegistry;
  readonly rollouts: Rollouts;
  /** The other control planes on the store. Default: none. */
  readonly peers?: Peers | undefined;
}

/** Which data plane, and what of it. */
type Question = Pick<WatchNodeResourcesRequest, "nodeId" | "gatewayGroup" | "typeUrl">;

const { watchNodeResources } = StatusService.method;

/** Every resource of a data plane: as it was sent, accepted and refused. */
export function nodeResources(
  sources: NodeResourceSources,
  deliver: Deliver,
): Pick<ServiceImpl<typeof StatusService>, "listNodeResources" | "watchNodeResources"> {
  const { nodes, peers } = sources;
  answerPeers(peers, watchNodeResources, (question) => {
    const [node] = nodesCalled(nodes, question);
    return node && create(WatchNodeResourcesResponseSchema, { resources: ownResources(sources, node, question) });
  });
  let watches = 0;
  return {
    async listNodeResources(request) {
      const { nodeId, gatewayGroup, typeUrl } = request;
      const all = await resourcesOf(sources, request);
      const { items, nextPageToken } = pageOf(
        request,
        ["nodeResources", nodeId, gatewayGroup, typeUrl],
        (after) => itemsAfter(all, after),
        ({ typeUrl: type, name }) => [type, name],
      );
      return { resources: [...items], nextPageToken };
    },

    async *watchNodeResources(request, context) {
      const { signal } = context;
      if (watches >= WATCHES_MAX) {
        throw new ConnectError(`${watches} data planes are watched already; try again later`, Code.ResourceExhausted);
      }
      watches++;
      const wake = new Wake(signal);
      const stop = nodes.onChange(() => wake.now());
      // Others tell nothing by themselves.
      const again = setInterval(() => peers !== undefined && peers.others.length > 0 && wake.now(), PEERS_PAUSE_MS);
      const told = new Map<string, NodeResource>();
      try {
        for (let isFirst = true; ; isFirst = false) {
          const changes = difference(told, await resourcesOf(sources, request));
          if (isFirst || changes.resources.length + changes.gone.length > 0) {
            yield* deliver(create(WatchNodeResourcesResponseSchema, changes), context);
          }
          await wake.wait(PAUSE_MS);
          signal.throwIfAborted();
        }
      } finally {
        clearInterval(again);
        stop();
        wake.close();
        watches--;
      }
    },
  };
}

/** Of a data plane of this control plane, or else of whichever it is connected to. @throws ConnectError NOT_FOUND */
async function resourcesOf(sources: NodeResourceSources, question: Question): Promise<readonly NodeResource[]> {
  const own = findNode(sources.nodes, question);
  if (own !== undefined) return ownResources(sources, own, question);
  const request = create(WatchNodeResourcesRequestSchema, pick(question));
  const { answers, silent } = await askPeers(sources.peers, watchNodeResources, request);
  const [first] = answers;
  if (first !== undefined) return first.resources;
  if (silent.length > 0) {
    const whom = `${silent.join(", ")} did not say whether ${question.nodeId} is connected there`;
    throw new ConnectError(whom, Code.Unavailable);
  }
  throw new ConnectError(`no data plane ${question.nodeId} is connected`, Code.NotFound);
}

const pick = ({ nodeId, gatewayGroup, typeUrl }: Question): Question => ({ nodeId, gatewayGroup, typeUrl });

/** The one that is connected to this control plane; undefined where none is. @throws ConnectError INVALID_ARGUMENT where several gateway groups have one */
function findNode(nodes: NodeRegistry, question: Question): NodeIdentity | undefined {
  const found = nodesCalled(nodes, question);
  if (found.length <= 1) return found[0];
  const groups = found.map((each) => each.gatewayGroup).join(", ");
  const problem = `data planes of several gateway groups are called ${question.nodeId}: ${groups}`;
  throw new ConnectError(problem, Code.InvalidArgument);
}

const nodesCalled = (nodes: NodeRegistry, { nodeId, gatewayGroup }: Question): NodeIdentity[] =>
  nodes.connected(nodeId).filter((node) => gatewayGroup === "" || node.gatewayGroup === gatewayGroup);

function ownResources(sources: NodeResourceSources, node: NodeIdentity, { typeUrl }: Question): NodeResource[] {
  const byType = Map.groupBy(sources.nodes.resources(node, typeUrl || undefined) ?? [], (each) => each.typeUrl);
  // Types come in the order of pushes.
  return [...byType.values()].flatMap((ofType) =>
    ofType
      .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))
      .map((each) => resourceMessage(each, node, sources)),
  );
}

/** Those behind the place of a page token, whose resource may be gone. */
function itemsAfter(all: readonly NodeResource[], after: readonly string[] | undefined): readonly NodeResource[] {
  if (after === undefined) return all;
  const order = [...new Set(all.map(({ typeUrl }) => typeUrl))];
  const [typeUrl = "", name = ""] = after;
  const place = order.indexOf(typeUrl);
  return all.filter((each) => {
    const own = order.indexOf(each.typeUrl);
    return own > place || (own === place && each.name > name);
  });
}

const states: Record<State, ResourceState> = {
  accepted: ResourceState.ACCEPTED,
  sent: ResourceState.SENT,
  waiting: ResourceState.WAITING,
  refused: ResourceState.REFUSED,
  undecided: ResourceState.UNDECIDED,
};

function resourceMessage(each: ResourceStatus, { gatewayGroup }: NodeIdentity, { rollouts }: NodeResourceSources) {
  const { typeUrl, name, sentVersion, acceptedVersion, nack } = each;
  const objects = nack === "" ? [] : rollouts.objectsOf(gatewayGroup, typeUrl, name, nack).map(objectMessage);
  const state = states[each.state];
  return create(NodeResourceSchema, { typeUrl, name, sentVersion, acceptedVersion, state, nack, objects });
}

/** What a watcher is to be told; `told` is brought up to date. */
function difference(told: Map<string, NodeResource>, now: readonly NodeResource[]) {
  const resources: NodeResource[] = [];
  const seen = new Set<string>();
  for (const each of now) {
    const key = `${each.typeUrl} ${each.name}`;
    seen.add(key);
    const before = told.get(key);
    told.set(key, each);
    if (before === undefined || summary(before) !== summary(each)) resources.push(each);
  }
  const gone: NodeResource[] = [];
  for (const [key, { typeUrl, name }] of told) {
    if (seen.has(key)) continue;
    told.delete(key);
    gone.push(create(NodeResourceSchema, { typeUrl, name }));
  }
  return { resources, gone };
}

const summary = ({ sentVersion, acceptedVersion, state, nack }: NodeResource) =>
  [sentVersion, acceptedVersion, state, nack].join(" ");
