import { status } from "@grpc/grpc-js";

import type { DiscoveryRequest } from "#envoy/service/discovery/v3/discovery_pb.ts";
import type { ServedType } from "#proto/resource-types.ts";

import { excessOfRequest, excessOfSubscription, type Refusal, typeOfRequest } from "./admission.ts";
import { servedSet } from "./answers.ts";
import type { Credentials } from "./join.ts";
import { groupOf, nodeProblem, traitsOf } from "./node.ts";
import { sotw } from "./sotw.ts";
import type { StreamContext } from "./stream-context.ts";
import { newSubscription, rescan } from "./subscription.ts";
import { applySotw, takeSotw } from "./subscription-sotw.ts";
import { viewOf } from "./whole-routes.ts";
import { encodeResponse } from "./wire.ts";

/** What a fetch gives: an encoded DiscoveryResponse, or nothing where the client has the version that there is. */
export type Fetched = { readonly bytes: Buffer } | "unchanged" | Refusal;

/**
 * Answers one request by itself (T6, `Fetch*`): the state of the world of a type as it is now, as on a stream's first request. Nothing is
 * remembered of it: whoever refuses an answer gets the same again.
 */
export function fetchOnce(
  { cache, join, limits, now }: Pick<StreamContext, "cache" | "join" | "limits" | "now">,
  onlyType: ServedType,
  request: DiscoveryRequest,
  credentials: Credentials,
): Fetched {
  const { node, versionInfo, resourceNames, typeUrl } = request;
  const problem = nodeProblem(node, limits);
  if (node === undefined || problem !== undefined) {
    return { code: status.INVALID_ARGUMENT, details: problem ?? "no node" };
  }
  const refusal = join.refusal(groupOf(node), credentials);
  if (refusal !== undefined) return refusal;
  const type = typeOfRequest({ typeUrl }, onlyType, sotw);
  if (type === "unknown") return { code: status.INVALID_ARGUMENT, details: "the type is not served" };
  if ("code" in type) return type;
  const sub = newSubscription(type, viewOf(type, false));
  const excess = excessOfRequest({ nameLists: [resourceNames] }, limits);
  if (excess !== undefined) return excess;
  applySotw(sub, { versionInfo, resourceNames, responseNonce: "", refusal: undefined }, traitsOf(node), now());
  const tooMuch = excessOfSubscription(sub, limits);
  if (tooMuch !== undefined) return tooMuch;
  const set = servedSet(cache, groupOf(node), sub);
  if (set === undefined) return { code: status.UNAVAILABLE, details: "there is nothing for this gateway group yet" };
  // S16: whoever names resources may have named fewer before.
  if (resourceNames.length === 0 && versionInfo !== "" && versionInfo === set.version) return "unchanged";
  sub.heldVersion = "";
  rescan(sub, set, now());
  const push = takeSotw(sub, set, { updates: true, removals: true }, Number.POSITIVE_INFINITY);
  const head = { version: set.version, typeUrl: type.typeUrl, nonce: set.version };
  const resources = Buffer.concat((push?.resources ?? []).map(({ sotw: entry }) => entry));
  return { bytes: Buffer.concat(encodeResponse(head, resources)) };
}
