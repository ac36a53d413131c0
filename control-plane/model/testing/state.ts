import type { MemberKind, ValueOf } from "../kinds.ts";
import { keyOf, type StoredObject, valueOf } from "../objects.ts";
import { hostsOf } from "../service-hosts.ts";
import type { State } from "../validate.ts";

/** All objects there are, as validation sees them. */
export function stateOf(objects: readonly StoredObject[]): State {
  const groups = objects.flatMap((object) => valueOf("gatewayGroup", object) ?? []);
  const members = <K extends MemberKind>(kind: K, group: string): ValueOf<K>[] =>
    objects.flatMap((object) =>
      keyOf(object).gatewayGroup === group ? (valueOf(kind, object) ?? []) : [],
    ) as ValueOf<K>[];
  return {
    gatewayGroup: (name) => groups.find((group) => group.name === name),
    gatewayGroups: () => groups,
    member: (kind, group, name) => members(kind, group).find((value) => value.name === name),
    members,
    servicesOn: (group, host) => members("service", group).filter((service) => hostsOf(service).includes(host)),
  };
}
