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
  const puts = objectsIn(gateway);
  const { result, revision } = await store.write(optionsOf(context, request), (state) => {
    expectStoreRevision(state, request.expectedRevision);
    const deletes = request.prune ? unnamed(state, puts, gateway.gatewayGroups.length > 0) : [];
    const planned = plan(state, { puts, deletes });
    return { writes: planned.writes, result: planned };
  });
  return { revision, changes: [...result.changes], unchangedObjects: result.unchanged };
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
