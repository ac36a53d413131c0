import type { ServiceImpl } from "@connectrpc/connect";

import type { GatewayGroupService } from "#sluice/admin/v1/gateway_group_service_pb.ts";
import type { GatewayGroup } from "#sluice/model/v1/gateway_group_pb.ts";

import type { ObjectKey, StoredObject } from "../model/objects.ts";
import type { Store } from "../store/store.ts";
import type { Entry } from "../store/transaction.ts";
import { createObject, deleteObject, getObject, hasLabels, metadataMessage, updateObject } from "./objects.ts";
import { pageOf } from "./pages.ts";
import { requiredObject } from "./required.ts";

/** Gateway groups, one at a time. */
export function gatewayGroupService(store: Store): ServiceImpl<typeof GatewayGroupService> {
  return {
    async getGatewayGroup({ name }) {
      return itemOf(getObject(store.state, key(name)));
    },

    async listGatewayGroups(request) {
      const list = ["gatewayGroups", JSON.stringify(request.labels)];
      const { items, nextPageToken } = pageOf(
        request,
        list,
        (after) => matching(store.state.gatewayGroupEntries(after?.[0]), request.labels),
        ({ object }) => [object.value.name],
      );
      return { items: items.map(itemOf), nextPageToken };
    },

    async createGatewayGroup(request, context) {
      const object = objectOf(request.gatewayGroup);
      const created = await createObject(store, context, object, "gatewayGroup", request);
      return { gatewayGroup: valueOf(created.object), metadata: created.metadata };
    },

    async updateGatewayGroup(request, context) {
      const object = objectOf(request.gatewayGroup);
      const updated = await updateObject(store, context, object, "gatewayGroup", request);
      return { gatewayGroup: valueOf(updated.object), metadata: updated.metadata, change: updated.change };
    },

    async deleteGatewayGroup(request, context) {
      return { revision: await deleteObject(store, context, key(request.name), request) };
    },
  };
}

const key = (name: string): ObjectKey => ({ kind: "gatewayGroup", gatewayGroup: name, name });

const objectOf = (value: GatewayGroup | undefined): StoredObject => ({
  kind: "gatewayGroup",
  value: requiredObject(value, "gatewayGroup"),
});

const valueOf = (object: StoredObject) => (object.kind === "gatewayGroup" ? object.value : undefined);

const itemOf = (entry: Entry) => ({
  gatewayGroup: valueOf(entry.object),
  metadata: metadataMessage(entry.metadata),
});

function* matching(entries: Iterable<Entry>, labels: Readonly<Record<string, string>>): Iterable<Entry> {
  for (const entry of entries) if (hasLabels(entry, labels)) yield entry;
}
