import type { GatewayGroup } from "#sluice/model/v1/gateway_group_pb.ts";
import type { Service } from "#sluice/model/v1/service_pb.ts";

import { type Ambiguity, ambiguousRoutes } from "./ambiguous.ts";
import { checkMessage } from "./constraints.ts";
import { checkGatewayGroup } from "./gateway-group.ts";
import { GATEWAY_GROUP_DEFAULT, keyOf, keyText, type StoredObject } from "./objects.ts";
import type { Problem } from "./problem.ts";
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
  service(gatewayGroup: string, name: string): Service | undefined;
  /** The services of one group, in a stable order. */
  servicesOf(gatewayGroup: string): Iterable<Service>;
  gatewayGroups(): Iterable<GatewayGroup>;
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
    if (object.kind === "gatewayGroup") checkGatewayGroup(object.value, report);
    else checkService(object.value, after, report);
    const ambiguous = object.kind === "service" ? ambiguities.get(object.value) : undefined;
    for (const { position, message } of ambiguous ?? []) report(`routes[${position}]`, "ambiguous_route", message);
  }
  return problems;
}

/** Routes of written services that collide with those of other services of their group. */
function ambiguitiesIn(written: readonly WrittenObject[], after: State): ReadonlyMap<Service, readonly Ambiguity[]> {
  const services = written.flatMap(({ object }) => (object.kind === "service" ? [object.value] : []));
  const groups = Map.groupBy(services, ({ gatewayGroup }) => gatewayGroup || GATEWAY_GROUP_DEFAULT);
  const found = Array.from(groups, ([group, ofGroup]) => ambiguousRoutes(ofGroup, after.servicesOf(group)));
  return new Map(found.flatMap((ofGroup) => [...ofGroup]));
}

const join = (field: string, below: string) => [field, below].filter((part) => part !== "").join(".");
