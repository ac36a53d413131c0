import type { HandlerContext } from "@connectrpc/connect";

import type { ApplyRequest } from "#sluice/admin/v1/gateway_service_pb.ts";

import { memberKinds } from "../model/kinds.ts";
import { keyOf, keyText, objectsIn, type ObjectKey } from "../model/objects.ts";
import type { WrittenObject } from "../model/validate.ts";
import type { StoreState } from "../store/mirror.ts";
import type { Store } from "../store/store.ts";
import { expectStoreRevision, optionsOf } from "./objects.ts";
import { plan } from "./plan.ts";
import { requiredObject } from "./required.ts";

/** Writes a whole gateway in one transaction, or says what that would change. */
export async function apply(store: Store, request: ApplyRequest, context: HandlerContext) {
  const gateway = requiredObject(request.gateway, "gateway");
  const given = objectsIn(gateway);
  const { result, revision } = await store.write(optionsOf(context, request), (state) => {
    expectStoreRevision(state, request.expectedRevision);
    const puts = given.map((put) => withKeptJoinTokens(withKeptLeaseTokens(put, state), state));
    const deletes = request.prune ? unnamed(state, puts, gateway.gatewayGroups.length > 0) : [];
    const planned = plan(state, { puts, deletes });
    return { writes: planned.writes, result: planned };
  });
  return { revision, changes: [...result.changes], unchangedObjects: result.unchanged };
}

/**
 * A gateway group without join tokens keeps those that it has: they are made by `sluice token create`, not in files, and an apply that
 * took them away would lock every data plane out.
 */
function withKeptJoinTokens(put: WrittenObject, state: StoreState): WrittenObject {
  const { object, field } = put;
  if (object.kind !== "gatewayGroup" || object.value.joinTokens.length > 0) return put;
  const before = state.find(keyOf(object))?.object;
  if (before?.kind !== "gatewayGroup" || before.value.joinTokens.length === 0) return put;
  const value = { ...object.value, joinTokens: before.value.joinTokens };
  return { object: { kind: "gatewayGroup", value }, field };
}

/** The same of a registry whose tokens were made by `sluice discovery token create`: programs that report to it go on doing so. */
function withKeptLeaseTokens(put: WrittenObject, state: StoreState): WrittenObject {
  const { object, field } = put;
  if (object.kind !== "registry" || object.value.kind.case !== "leases") return put;
  if (object.value.kind.value.tokens.length > 0) return put;
  const before = state.find(keyOf(object))?.object;
  if (before?.kind !== "registry" || before.value.kind.case !== "leases") return put;
  return { object: { kind: "registry", value: { ...object.value, kind: before.value.kind } }, field };
}

/**
 * What pruning deletes: every object that isn't named. A gateway that names no gateway group says nothing about them, so that a file
 * of services alone doesn't take their group away.
 */
function unnamed(state: StoreState, puts: readonly WrittenObject[], groupsToo: boolean): ObjectKey[] {
  const named = new Set(puts.map(({ object }) => keyText(keyOf(object))));
  const keys: ObjectKey[] = [];
  for (const kind of memberKinds) {
    for (const entry of state.entries(kind)) keys.push(keyOf(entry.object));
  }
  if (groupsToo) {
    for (const entry of state.gatewayGroupEntries()) keys.push(keyOf(entry.object));
  }
  return keys.filter((key) => !named.has(keyText(key)));
}
