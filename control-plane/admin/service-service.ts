import type { ServiceImpl } from "@connectrpc/connect";

import type { ServiceService } from "#sluice/admin/v1/service_service_pb.ts";

import type { Store } from "../store/store.ts";
import { members } from "./members.ts";

/** Services, one at a time. */
export function serviceService(store: Store): ServiceImpl<typeof ServiceService> {
  const all = members(store, "service", "service");
  return {
    async getService(request) {
      const { value, metadata } = all.get(request);
      return { service: value, metadata };
    },

    async listServices(request) {
      const { items, nextPageToken } = all.list(request);
      return { items: items.map(({ value, metadata }) => ({ service: value, metadata })), nextPageToken };
    },

    async createService(request, context) {
      const { value, metadata } = await all.create(request.service, request, context);
      return { service: value, metadata };
    },

    async updateService(request, context) {
      const { value, metadata, change } = await all.update(request.service, request, context);
      return { service: value, metadata, change };
    },

    deleteService: (request, context) => all.delete(request, context),
  };
}
