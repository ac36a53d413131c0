import { create, toBinary } from "@bufbuild/protobuf";

import { type Node, NodeSchema } from "#envoy/config/core/v3/base_pb.ts";

import type { XdsLimits } from "./limits.ts";
import type { NodeIdentity } from "./status.ts";
import type { ClientTraits } from "./subscription-delta.ts";

const GROUP_DEFAULT = "default";

/** Why a node cannot be served, or undefined if it can. */
export function nodeProblem(node: Node | undefined, limits: XdsLimits): string | undefined {
  if (node === undefined) return "the first request of a stream has no node"; // T1
  if (node.id === "") return "node.id is empty";
  for (const field of ["id", "cluster"] as const) {
    if (node[field].length > limits.nodeNameLengthMax) {
      return `node.${field} is longer than ${limits.nodeNameLengthMax} characters`;
    }
    // They go into logs and keys.
    if (/\p{Cc}/u.test(node[field])) return `node.${field} has control characters`;
  }
  return undefined;
}

/** A node's gateway group. */
export const groupOf = ({ cluster }: Pick<Node, "cluster">): string => cluster || GROUP_DEFAULT;

/** What a node says of itself. Its gateway group is `node.cluster`, or "default" where that is empty. */
export function identityOf(node: Node, address: string): NodeIdentity {
  return {
    id: node.id,
    gatewayGroup: groupOf(node),
    kind: kindOf(node.userAgentName),
    version: versionOf(node),
    address,
  };
}

/** How the client that serves a node reads the protocol. */
export function traitsOf(node: Node): ClientTraits {
  // S12: after a stream failure a gRPC client may send an empty list that means nothing (grpc-go#7013). All of them, in whatever
  // language, call themselves "gRPC something".
  const isGrpc = node.userAgentName.toLowerCase().startsWith("grpc");
  const { userAgentVersionType: told } = node;
  const version = told.case === "userAgentBuildVersion" ? told.value.version : undefined;
  // Envoy names the wildcard since 1.20 (envoy.restart_features.explicit_wildcard_resource).
  const isOldEnvoy = node.userAgentName === "envoy" && version?.majorNumber === 1 && version.minorNumber < 20;
  // X4: Envoy would take a response with nothing in it as the end of its wait; gRPC (A88) reads the errors, or nothing where it is older.
  return { legacyWildcard: !isGrpc, namesWildcardOnReconnect: isOldEnvoy, takesErrors: isGrpc };
}

const USER_AGENT_LENGTH_MAX = 100;

function kindOf(userAgent: string): string {
  const name = userAgent.slice(0, USER_AGENT_LENGTH_MAX);
  return /^sluice\b/i.test(name) ? "native" : name;
}

function versionOf({ userAgentVersionType: told }: Node): string {
  if (told.case === "userAgentVersion") return told.value.slice(0, USER_AGENT_LENGTH_MAX);
  const version = told.value?.version;
  return version === undefined ? "" : `${version.majorNumber}.${version.minorNumber}.${version.patch}`;
}

/** Of what is kept of a node, encoded; of a node that says more, only its names are kept. */
const NODE_BYTES_MAX = 16 * 1024;

/**
 * What of a node is kept for as long as its stream lasts: who it is, where, and what it says of itself. Envoy's list of extensions alone is
 * as large as an idle stream may be.
 */
export function shownNode(node: Node): Node {
  const { id, cluster, metadata, locality, userAgentName, userAgentVersionType, clientFeatures } = node;
  const said = { metadata, locality, userAgentName, userAgentVersionType, clientFeatures };
  const kept = create(NodeSchema, { id, cluster, ...said });
  return toBinary(NodeSchema, kept).length <= NODE_BYTES_MAX ? kept : create(NodeSchema, { id, cluster });
}
