import type { GatewayGroup } from "#sluice/model/v1/gateway_group_pb.ts";
import type { Service } from "#sluice/model/v1/service_pb.ts";

import { type Ambiguity, ambiguousRoutes } from "./ambiguous.ts";
import { checkCaCertificate, checkCertificate } from "./certificate.ts";
import { checkMessage } from "./constraints.ts";
import { checkGatewayGroup } from "./gateway-group.ts";
import type { MemberKind, ValueOf } from "./kinds.ts";
import { GATEWAY_GROUP_DEFAULT, keyOf, keyText, type StoredObject } from "./objects.ts";
import { type Problem, quoted, type Report } from "./problem.ts";
import { checkRegistry } from "./registry.ts";
import { checkService } from "./service.ts";

export type { Problem } from "./problem.ts";

/**
 * An object that a request writes, and where in the request it stands: "services[2]", "gatewayGroups[0]", "service".
 */
export interface WrittenObject {
  readonly object: StoredObject;
  readonly field: string;
}

/** All objects as they would be after a write. */
export interface State {
  gatewayGroup(name: string): GatewayGroup | undefined;
  gatewayGroups(): Iterable<GatewayGroup>;
  /** One object of a gateway group. */
  member<K extends MemberKind>(kind: K, gatewayGroup: string, name: string): ValueOf<K> | undefined;
  /** The objects of one kind of a gateway group, in a stable order. */
  members<K extends MemberKind>(kind: K, gatewayGroup: string): Iterable<ValueOf<K>>;
  /** The services of a gateway group that answer to a host (service-hosts.ts), in any order; it costs what there are of them. */
  servicesOn(gatewayGroup: string, host: string): Iterable<Service>;
}

/**
 * All that is wrong with the written objects, in the order in which they stand; empty if the write may be done. It
 * checks what was written and what that leads to, not objects that the write leaves alone.
 */
export function validate(written: readonly WrittenObject[], after: State): Problem[] {
  const problems: Problem[] = [];
  const firstByKey = new Map<string, string>();
  const ambiguities = ambiguitiesIn(written, after);
  for (const { object, field } of written) {
    const report = (below: string, reason: string, message: string) => {
      problems.push({ field: join(field, below), reason, message });
    };
    const key = keyText(keyOf(object));
    const first = firstByKey.get(key);
    if (first !== undefined) report("name", "duplicate", `${first} has the same name; names are unique`);
    firstByKey.set(key, first ?? field);

    checkMessage(object, report);
    checkObject(object, after, report);
    const ambiguous = object.kind === "service" ? ambiguities.get(object.value) : undefined;
    for (const { position, message } of ambiguous ?? []) report(`routes[${position}]`, "ambiguous_route", message);
  }
  return problems;
}

/** Reports what is wrong with an object beyond the rules of its .proto, seen together with all others. */
function checkObject(object: StoredObject, after: State, report: Report): void {
  if (object.kind !== "gatewayGroup") checkGroupExists(object.value, after, report);
  switch (object.kind) {
    case "gatewayGroup":
      return checkGatewayGroup(object.value, after, report);
    case "service":
      return checkService(object.value, after, report);
    case "registry":
      return checkRegistry(object.value, report);
    case "certificate":
      return checkCertificate(object.value, after, report);
    case "caCertificate":
      return checkCaCertificate(object.value, report);
  }
}

function checkGroupExists({ gatewayGroup }: { readonly gatewayGroup: string }, after: State, report: Report): void {
  const group = gatewayGroup || GATEWAY_GROUP_DEFAULT;
  if (after.gatewayGroup(group) !== undefined) return;
  const known = [...after.gatewayGroups()].map(({ name }) => quoted(name)).slice(0, 5);
  const right = known.length === 0 ? "create it first" : `create it first, or use one of ${known.join(", ")}`;
  report("gatewayGroup", "unknown_gateway_group", `there is no gateway group ${quoted(group)}; ${right}`);
}

/** Routes of written services that collide with those of other services of their group. */
function ambiguitiesIn(written: readonly WrittenObject[], after: State): ReadonlyMap<Service, readonly Ambiguity[]> {
  const services = written.flatMap(({ object }) => (object.kind === "service" ? [object.value] : []));
  const groups = Map.groupBy(services, ({ gatewayGroup }) => gatewayGroup || GATEWAY_GROUP_DEFAULT);
  const found = Array.from(groups, ([group, ofGroup]) =>
    ambiguousRoutes(ofGroup, (host) => after.servicesOn(group, host)),
  );
  return new Map(found.flatMap((ofGroup) => [...ofGroup]));
}

const join = (field: string, below: string) => [field, below].filter((part) => part !== "").join(".");
