import { create } from "@bufbuild/protobuf";
import { Code, ConnectError, type ServiceImpl } from "@connectrpc/connect";

import {
  type NodeResource,
  NodeResourceSchema,
  ResourceState,
  type StatusService,
  WatchNodeResourcesResponseSchema,
} from "#sluice/admin/v1/status_service_pb.ts";

import type { Rollouts } from "../rollout/tracker.ts";
import type { NodeIdentity, NodeRegistry, ResourceState as State, ResourceStatus } from "../xds/status.ts";
import type { Deliver } from "./deliver.ts";
import { pageOf } from "./pages.ts";
import { objectMessage } from "./rollout-messages.ts";
import { Wake } from "./wake.ts";

/** Each looks over all resources of a data plane again and again, so there may be few. */
const WATCHES_MAX = 64;
const PAUSE_MS = 250;

/** What the resources of data planes are told from. */
export interface NodeResourceSources {
  readonly nodes: NodeRegistry;
  readonly rollouts: Rollouts;
}

/** Every resource of a data plane: as it was sent, accepted and refused. */
export function nodeResources(
  sources: NodeResourceSources,
  deliver: Deliver,
): Pick<ServiceImpl<typeof StatusService>, "listNodeResources" | "watchNodeResources"> {
  const { nodes } = sources;
  let watches = 0;
  return {
    listNodeResources(request) {
      const { nodeId, gatewayGroup, typeUrl } = request;
      const node = findNode(nodes, nodeId, gatewayGroup);
      const all = resourcesOf(nodes, node, typeUrl);
      const { items, nextPageToken } = pageOf(
        request,
        ["nodeResources", nodeId, gatewayGroup, typeUrl],
        (after) => itemsAfter(all, after),
        ({ typeUrl: type, name }) => [type, name],
      );
      return { resources: items.map((each) => resourceMessage(each, node, sources)), nextPageToken };
    },

    async *watchNodeResources({ nodeId, gatewayGroup, typeUrl }, context) {
      const { signal } = context;
      if (watches >= WATCHES_MAX) {
        throw new ConnectError(`${watches} data planes are watched already; try again later`, Code.ResourceExhausted);
      }
      watches++;
      const wake = new Wake(signal);
      const stop = nodes.onChange(() => wake.now());
      const told = new Map<string, NodeResource>();
      try {
        for (let isFirst = true; ; isFirst = false) {
          const node = findNode(nodes, nodeId, gatewayGroup);
          const now = resourcesOf(nodes, node, typeUrl).map((each) => resourceMessage(each, node, sources));
          const changes = difference(told, now);
          if (isFirst || changes.resources.length + changes.gone.length > 0) {
            yield* deliver(create(WatchNodeResourcesResponseSchema, changes), context);
          }
          await wake.wait(PAUSE_MS);
          signal.throwIfAborted();
        }
      } finally {
        stop();
        wake.close();
        watches--;
      }
    },
  };
}

/** @throws ConnectError NOT_FOUND, or INVALID_ARGUMENT where several groups have a data plane of this name */
function findNode(nodes: NodeRegistry, id: string, gatewayGroup: string): NodeIdentity {
  const found = nodes.connected(id).filter((node) => gatewayGroup === "" || node.gatewayGroup === gatewayGroup);
  const [node, other] = found;
  if (node === undefined) throw new ConnectError(`no data plane ${id} is connected`, Code.NotFound);
  if (other === undefined) return node;
  const groups = found.map((each) => each.gatewayGroup).join(", ");
  throw new ConnectError(`data planes of several gateway groups are called ${id}: ${groups}`, Code.InvalidArgument);
}

function resourcesOf(nodes: NodeRegistry, node: NodeIdentity, typeUrl: string): ResourceStatus[] {
  const byType = Map.groupBy(nodes.resources(node, typeUrl || undefined) ?? [], (each) => each.typeUrl);
  // Types come in the order of pushes.
  return [...byType.values()].flatMap((ofType) =>
    ofType.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0)),
  );
}

/** Those behind the place of a page token, whose resource may be gone. */
function itemsAfter(all: readonly ResourceStatus[], after: readonly string[] | undefined): readonly ResourceStatus[] {
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
