import { create, equals } from "@bufbuild/protobuf";

import { type Gateway, type Object$ as ObjectMessage, ObjectSchema } from "#sluice/model/v1/gateway_pb.ts";

import { type Kind, kinds, type MemberKind, objectKinds, schemaOf, type ValueOf } from "./kinds.ts";

/** The gateway group of an object that names none. */
export const GATEWAY_GROUP_DEFAULT = "default";

/** The upstream of a route that names none. */
export const UPSTREAM_DEFAULT = "default";

/** One object of the model: what is stored, versioned and compared as a whole. */
export type StoredObject = { [K in Kind]: { readonly kind: K; readonly value: ValueOf<K> } }[Kind];

/** What tells an object from all others: its kind, the group it belongs to (a group: itself) and its name. */
export interface ObjectKey {
  readonly kind: Kind;
  readonly gatewayGroup: string;
  readonly name: string;
}

/** The object that a message of a kind is; undefined stays so. */
export const objectOf = <K extends Kind>(kind: K, value: ValueOf<K>): StoredObject => ({ kind, value }) as StoredObject;

/** The message of an object that must be of this kind; undefined if it isn't. */
export const valueOf = <K extends Kind>(kind: K, object: StoredObject | undefined): ValueOf<K> | undefined =>
  object?.kind === kind ? (object.value as ValueOf<K>) : undefined;

/** The key of an object; one that names no group is in the default one. */
export function keyOf(object: StoredObject): ObjectKey {
  const { kind, value } = object;
  const gatewayGroup = kind === "gatewayGroup" ? value.name : value.gatewayGroup || GATEWAY_GROUP_DEFAULT;
  return { kind, gatewayGroup, name: value.name };
}

/** The key of a member of a gateway group, by default of the default one. */
export const memberKey = (
  kind: MemberKind,
  { gatewayGroup, name }: { readonly gatewayGroup: string; readonly name: string },
): ObjectKey => ({ kind, gatewayGroup: gatewayGroup || GATEWAY_GROUP_DEFAULT, name });

/**
 * A key as one string, for maps and messages: "service default/orders", "gatewayGroup default". Names hold no space
 * or slash.
 */
export const keyText = ({ kind, gatewayGroup, name }: ObjectKey): string =>
  kind === "gatewayGroup" ? `${kind} ${name}` : `${kind} ${gatewayGroup}/${name}`;

/**
 * The object with those defaults filled in that decide what it is: the gateway group of what belongs to one. All
 * others stay unset, as the operator wrote it, so that a later Sluice may choose better ones. Returns the same object
 * if there is nothing to fill in.
 */
export function withDefaults(object: StoredObject): StoredObject {
  if (object.kind === "gatewayGroup" || object.value.gatewayGroup !== "") return object;
  const { kind, value } = object;
  // What is in it is shared with the given one: nobody changes objects of the model.
  const named = { ...value, gatewayGroup: GATEWAY_GROUP_DEFAULT };
  return objectOf(kind, named as ValueOf<typeof kind>);
}

/** Whether two objects say the same, in every field. */
export const sameObject = (a: StoredObject, b: StoredObject): boolean =>
  a.kind === b.kind && equals(schemaOf(a.kind), a.value, b.value);

/** The objects of a gateway, kind by kind, each with its place in it: "services[2]". */
export function objectsIn(gateway: Gateway): { readonly object: StoredObject; readonly field: string }[] {
  return kinds.flatMap((kind) => {
    const { list } = objectKinds[kind];
    return gateway[list].map((value, at) => ({ object: { kind, value } as StoredObject, field: `${list}[${at}]` }));
  });
}

/** The object as the admin API carries it. */
export const toMessage = (object: StoredObject): ObjectMessage =>
  create(ObjectSchema, { kind: { case: object.kind, value: object.value } as ObjectMessage["kind"] });
