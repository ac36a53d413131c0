import type { ServiceImpl } from "@connectrpc/connect";

import type { RegistryService } from "#sluice/admin/v1/registry_service_pb.ts";

import type { Store } from "../store/store.ts";
import { members } from "./members.ts";

/** Registries, one at a time. */
export function registryService(store: Store): ServiceImpl<typeof RegistryService> {
  const all = members(store, "registry", "registry");
  return {
    async getRegistry(request) {
      const { value, metadata } = all.get(request);
      return { registry: value, metadata };
    },

    async listRegistries(request) {
      const { items, nextPageToken } = all.list(request);
      return { items: items.map(({ value, metadata }) => ({ registry: value, metadata })), nextPageToken };
    },

    async createRegistry(request, context) {
      const { value, metadata } = await all.create(request.registry, request, context);
      return { registry: value, metadata };
    },

    async updateRegistry(request, context) {
      const { value, metadata, change } = await all.update(request.registry, request, context);
      return { registry: value, metadata, change };
    },

    deleteRegistry: (request, context) => all.delete(request, context),
  };
}
