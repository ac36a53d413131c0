import type { ServiceImpl } from "@connectrpc/connect";

import type { ServiceService } from "#sluice/admin/v1/service_service_pb.ts";
import type { Service } from "#sluice/model/v1/service_pb.ts";

import { GATEWAY_GROUP_DEFAULT, type ObjectKey, type StoredObject } from "../model/objects.ts";
import type { StoreState } from "../store/mirror.ts";
import type { Store } from "../store/store.ts";
import type { Entry } from "../store/transaction.ts";
import { createObject, deleteObject, getObject, hasLabels, metadataMessage, updateObject } from "./objects.ts";
import { pageOf } from "./pages.ts";
import { requiredObject } from "./required.ts";

/** Services, one at a time. */
export function serviceService(store: Store): ServiceImpl<typeof ServiceService> {
  return {
    async getService(request) {
      return itemOf(getObject(store.state, key(request)));
    },

    async listServices(request) {
      const { gatewayGroup, labels } = request;
      const list = ["services", gatewayGroup, JSON.stringify(labels)];
      const { items, nextPageToken } = pageOf(
        request,
        list,
        (after) => servicesAfter(store.state, gatewayGroup, labels, after),
        ({ object }) => [object.kind === "service" ? object.value.gatewayGroup : "", object.value.name],
      );
      return { items: items.map(itemOf), nextPageToken };
    },

    async createService(request, context) {
      const created = await createObject(store, context, objectOf(request.service), "service", request);
      return { service: valueOf(created.object), metadata: created.metadata };
    },

    async updateService(request, context) {
      const updated = await updateObject(store, context, objectOf(request.service), "service", request);
      return { service: valueOf(updated.object), metadata: updated.metadata, change: updated.change };
    },

    async deleteService(request, context) {
      return { revision: await deleteObject(store, context, key(request), request) };
    },
  };
}

const key = ({ gatewayGroup, name }: { gatewayGroup: string; name: string }): ObjectKey => ({
  kind: "service",
  gatewayGroup: gatewayGroup || GATEWAY_GROUP_DEFAULT,
  name,
});

const objectOf = (value: Service | undefined): StoredObject => ({
  kind: "service",
  value: requiredObject(value, "service"),
});

const valueOf = (object: StoredObject) => (object.kind === "service" ? object.value : undefined);

const itemOf = (entry: Entry) => ({ service: valueOf(entry.object), metadata: metadataMessage(entry.metadata) });

/** By gateway group and name. */
function* servicesAfter(
  state: StoreState,
  gatewayGroup: string,
  labels: Readonly<Record<string, string>>,
  after: readonly string[] | undefined,
): Iterable<Entry> {
  const [afterGroup, afterName] = after ?? [];
  const groups = gatewayGroup === "" ? state.groupsWithServices(afterGroup) : [gatewayGroup];
  for (const group of groups) {
    for (const entry of state.serviceEntries(group, group === afterGroup ? afterName : undefined)) {
      if (hasLabels(entry, labels)) yield entry;
    }
  }
}
