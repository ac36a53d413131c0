import type { Gateway, Object$ } from "#sluice/model/v1/gateway_pb.ts";
import type { Route } from "#sluice/model/v1/route_pb.ts";
import type { Service } from "#sluice/model/v1/service_pb.ts";

/** The gateway group of what names none. */
export const GROUP_DEFAULT = "default";

/** The group that serves a service. */
export const groupOf = ({ gatewayGroup }: Pick<Service, "gatewayGroup">): string => gatewayGroup || GROUP_DEFAULT;

/** A name for each object of a gateway that no other has. */
export function objectKeys({ gatewayGroups, services }: Gateway): string[] {
  return [...gatewayGroups.map(groupKey), ...services.map(serviceKey)];
}

export const groupKey = ({ name }: { readonly name: string }): string => `gateway-group/${name}`;

export const serviceKey = (service: Pick<Service, "gatewayGroup" | "name">): string =>
  `service/${groupOf(service)}/${service.name}`;

/** An object's kind, name and group as people say them, and the list of a gateway that holds it. */
export function describeObject(object: Object$ | undefined) {
  const { kind } = object ?? {};
  switch (kind?.case) {
    case "gatewayGroup":
      return { kind: "gateway-group", name: kind.value.name, group: "", list: "gatewayGroups" } as const;
    case "service":
      return { kind: "service", name: kind.value.name, group: groupOf(kind.value), list: "services" } as const;
    default:
      // A newer server's object.
      return { kind: "object", name: "?", group: "", list: "" } as const;
  }
}

/** "GET,POST /v1/refunds/*, /v1/refunds". */
export function describeRoute({ methods, paths }: Pick<Route, "methods" | "paths">): string {
  return `${methods.length === 0 ? "" : `${methods.join(",")} `}${shorten(paths, 4)}`;
}

/** The first few, and how many more there are. */
export function shorten(words: readonly string[], max: number): string {
  return words.length <= max ? words.join(", ") : `${words.slice(0, max).join(", ")}, … ${words.length - max} more`;
}
