import { status } from "@grpc/grpc-js";

import { type ServedType, servedTypeByUrl } from "#proto/resource-types.ts";

import type { XdsLimits } from "./limits.ts";
import type { IncomingRequest, StreamProtocol } from "./protocol.ts";
import type { Subscription } from "./subscription.ts";

/** Why a stream is ended: a gRPC status, and words for whoever runs the client. */
export interface Refusal {
  readonly code: status;
  readonly details: string;
}

/** The type that a request is for; "unknown" is one that is not served, which is no reason to end a stream (T4). */
export function typeOfRequest(
  { typeUrl }: Pick<IncomingRequest, "typeUrl">,
  onlyType: ServedType | undefined,
  protocol: Pick<StreamProtocol, "name">,
): ServedType | "unknown" | Refusal {
  if (onlyType !== undefined) {
    if (typeUrl === "" || typeUrl === onlyType.typeUrl) return onlyType; // T2
    return { code: status.INVALID_ARGUMENT, details: `this service serves ${onlyType.typeUrl} only` };
  }
  if (typeUrl === "") {
    return { code: status.INVALID_ARGUMENT, details: "a request on the aggregated service has no type_url" }; // T2
  }
  const type = servedTypeByUrl.get(typeUrl);
  // T6: VHDS and LEDS are defined for delta alone; elsewhere nobody can mean them.
  if (type === undefined || (type.deltaOnly && protocol.name === "sotw")) return "unknown";
  return type;
}

/** What is too much in one request. */
export function excessOfRequest(
  { nameLists }: Pick<IncomingRequest, "nameLists">,
  limits: XdsLimits,
): Refusal | undefined {
  const { namesMax, nameLengthMax } = limits;
  for (const names of nameLists) {
    if (names.length > namesMax) {
      return { code: status.RESOURCE_EXHAUSTED, details: `more than ${namesMax} names in one request` };
    }
    if (names.some((name) => name.length > nameLengthMax)) {
      return { code: status.INVALID_ARGUMENT, details: `a resource name is longer than ${nameLengthMax} characters` };
    }
  }
  return undefined;
}

/** What is too much in a subscription after a request. */
export function excessOfSubscription(sub: Subscription, { namesMax }: XdsLimits): Refusal | undefined {
  // Names that are owed an answer need not be subscribed (D7), and a client that never accepts could go on naming new ones.
  if (sub.names.size <= namesMax && sub.forced.size <= 2 * namesMax) return undefined;
  return { code: status.RESOURCE_EXHAUSTED, details: `more than ${namesMax} names of ${sub.type.typeUrl}` };
}
