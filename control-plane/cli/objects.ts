import type { Gateway, Object$ } from "#sluice/model/v1/gateway_pb.ts";
import type { Route } from "#sluice/model/v1/route_pb.ts";

import { type KnownKind, kinds } from "./kinds.ts";

/** The gateway group of what names none. */
export const GROUP_DEFAULT = "default";

/** The group that an object belongs to. */
export const groupOf = ({ gatewayGroup }: { readonly gatewayGroup: string }): string => gatewayGroup || GROUP_DEFAULT;

/** A name for each object of a gateway that no other has. */
export const objectKeys = (gateway: Gateway): string[] =>
  kinds.flatMap((kind) => gateway[kind.list].map((value) => objectKey(kind, value)));

/** A name for an object that no other has: "service/default/orders", "gateway-group/default". */
export const objectKey = (
  { noun }: KnownKind,
  value: { readonly name: string; readonly gatewayGroup?: string },
): string =>
  noun === "gateway-group" ? `${noun}/${value.name}` : `${noun}/${value.gatewayGroup || GROUP_DEFAULT}/${value.name}`;

/** An object's kind, name and group as people say them, and the list of a gateway that holds it. */
export function describeObject(object: Object$ | undefined) {
  const { kind } = object ?? {};
  const words = kinds.find((each) => each.kind === kind?.case);
  // A newer server's object.
  if (kind?.case === undefined || words === undefined)
    return { kind: "object", name: "?", group: "", list: "" } as const;
  const group = kind.case === "gatewayGroup" ? "" : groupOf(kind.value);
  return { kind: words.noun, name: kind.value.name, group, list: words.list } as const;
}

/** "GET,POST /v1/refunds/*, /v1/refunds". */
export function describeRoute({ methods, paths }: Pick<Route, "methods" | "paths">): string {
  return `${methods.length === 0 ? "" : `${methods.join(",")} `}${shorten(paths, 4)}`;
}

/** The first few, and how many more there are. */
export function shorten(words: readonly string[], max: number): string {
  return words.length <= max ? words.join(", ") : `${words.slice(0, max).join(", ")}, … ${words.length - max} more`;
}
