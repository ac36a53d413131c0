import { clone, create } from "@bufbuild/protobuf";

import type { GatewayGroup } from "#sluice/model/v1/gateway_group_pb.ts";
import { type Object$ as ObjectMessage, ObjectSchema } from "#sluice/model/v1/gateway_pb.ts";
import { type Service, ServiceSchema } from "#sluice/model/v1/service_pb.ts";

/** The gateway group of a service that names none. */
export const GATEWAY_GROUP_DEFAULT = "default";

/** The upstream of a route that names none. */
export const UPSTREAM_DEFAULT = "default";

/** One object of the model: what is stored, versioned and compared as a whole. */
export type StoredObject =
  | { readonly kind: "gatewayGroup"; readonly value: GatewayGroup }
  | { readonly kind: "service"; readonly value: Service };

/** What tells an object from all others: its kind, the group it belongs to (a group: itself) and its name. */
export interface ObjectKey {
  readonly kind: StoredObject["kind"];
  readonly gatewayGroup: string;
  readonly name: string;
}

/** The key of an object; a service that names no group is in the default one. */
export function keyOf(object: StoredObject): ObjectKey {
  const { kind, value } = object;
  const gatewayGroup = kind === "gatewayGroup" ? value.name : value.gatewayGroup || GATEWAY_GROUP_DEFAULT;
  return { kind, gatewayGroup, name: value.name };
}

/**
 * A key as one string, for maps and messages: "service default/orders", "gatewayGroup default". Names hold no space
 * or slash.
 */
export const keyText = ({ kind, gatewayGroup, name }: ObjectKey): string =>
  kind === "gatewayGroup" ? `${kind} ${name}` : `${kind} ${gatewayGroup}/${name}`;

/**
 * The object with those defaults filled in that decide what it is: the gateway group of a service. All others stay
 * unset, as the operator wrote it, so that a later Sluice may choose better ones. Returns the same object if there is
 * nothing to fill in.
 */
export function withDefaults(object: StoredObject): StoredObject {
  if (object.kind !== "service" || object.value.gatewayGroup !== "") return object;
  const value = clone(ServiceSchema, object.value);
  value.gatewayGroup = GATEWAY_GROUP_DEFAULT;
  return { kind: "service", value };
}

/** The object as the admin API carries it. */
export const toMessage = (object: StoredObject): ObjectMessage =>
  create(ObjectSchema, { kind: { case: object.kind, value: object.value } as ObjectMessage["kind"] });
