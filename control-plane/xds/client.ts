import { status } from "@grpc/grpc-js";

import type { Node } from "#envoy/config/core/v3/base_pb.ts";
import { VIRTUAL_HOSTS_BY_WILDCARD } from "#proto/client-features.ts";

import type { Refusal } from "./admission.ts";
import type { ResourceCache } from "./cache.ts";
import type { Watcher } from "./interest.ts";
import type { Credentials } from "./join.ts";
import { identityOf, nodeProblem, shownNode, traitsOf } from "./node.ts";
import type { ConnectedStream, NodeConnection, NodeIdentity } from "./status.ts";
import type { StreamContext } from "./stream-context.ts";
import type { ClientTraits } from "./subscription-delta.ts";
import type { WantedResource } from "./wanted-resources.ts";

/** Who the client of a stream is, known from its first request on. */
export interface Client {
  readonly identity: NodeIdentity;
  readonly traits: ClientTraits;
  /** It can do with virtual hosts one by one instead of whole route configurations. */
  readonly takesVirtualHosts: boolean;
  readonly connection: NodeConnection;
  readonly credentials: Credentials;
  readonly audience: ReturnType<ResourceCache["attach"]>;
  /** The resources that the client is served: those of the cache, or a view of its own. */
  readonly view: Pick<ResourceCache, "resources">;
  /** Takes it out of every list, when its stream has ended. */
  leave(): void;
}

/** The stream of a client, as far as others are told of it. */
interface ClientStream extends Watcher, ConnectedStream {
  readonly peer: string;
  readonly credentials: Credentials;
  wanted(): Iterable<WantedResource>;
}

/** Enters the client that a stream's first request names (T1). */
export function enterClient(
  node: Node | undefined,
  stream: ClientStream,
  { cache, candidates, nodes, clients, limits, join }: StreamContext,
): Client | Refusal {
  const problem = nodeProblem(node, limits);
  if (node === undefined || problem !== undefined) {
    return { code: status.INVALID_ARGUMENT, details: problem ?? "no node" };
  }
  const identity = identityOf(node, stream.peer);
  const { credentials } = stream;
  // First of all: who may not join learns nothing of the group, and takes no place in it.
  const refusal = join.refusal(identity.gatewayGroup, credentials);
  if (refusal !== undefined) return refusal;
  if (nodes.streams(identity) >= limits.streamsPerNodeMax) {
    const details = `the node has ${limits.streamsPerNodeMax} streams already`;
    return { code: status.RESOURCE_EXHAUSTED, details };
  }
  const { gatewayGroup } = identity;
  const audience = cache.attach(gatewayGroup, stream);
  const unlist = [
    () => audience.detach(),
    candidates.attach(identity, stream),
    clients.add({ node: shownNode(node), gatewayGroup, wanted: () => stream.wanted() }),
  ];
  const connection = nodes.connect(identity, stream);
  return {
    identity,
    credentials,
    traits: traitsOf(node),
    takesVirtualHosts: node.clientFeatures.includes(VIRTUAL_HOSTS_BY_WILDCARD),
    audience,
    view: { resources: (_, view) => candidates.resources(identity, view) },
    connection,
    leave() {
      for (const each of unlist) each();
      connection.close();
    },
  };
}

/** What is wrong with the node of a later request: it may be left out, but not differ (T1). */
export function nodeChange({ identity }: Client, node: Node | undefined): Refusal | undefined {
  if (node === undefined) return undefined;
  const again = identityOf(node, identity.address);
  if (again.id === identity.id && again.gatewayGroup === identity.gatewayGroup) return undefined;
  const details = "node.id or node.cluster differs from the stream's first request";
  return { code: status.INVALID_ARGUMENT, details };
}
