import type { ServiceImpl } from "@connectrpc/connect";

import type { CaCertificateService } from "#sluice/admin/v1/ca_certificate_service_pb.ts";

import type { Store } from "../store/store.ts";
import { members } from "./members.ts";

/** Authorities that are trusted, one at a time. */
export function caCertificateService(store: Store): ServiceImpl<typeof CaCertificateService> {
  const all = members(store, "caCertificate", "caCertificate");
  return {
    async getCaCertificate(request) {
      const { value, metadata } = all.get(request);
      return { caCertificate: value, metadata };
    },

    async listCaCertificates(request) {
      const { items, nextPageToken } = all.list(request);
      return { items: items.map(({ value, metadata }) => ({ caCertificate: value, metadata })), nextPageToken };
    },

    async createCaCertificate(request, context) {
      const { value, metadata } = await all.create(request.caCertificate, request, context);
      return { caCertificate: value, metadata };
    },

    async updateCaCertificate(request, context) {
      const { value, metadata, change } = await all.update(request.caCertificate, request, context);
      return { caCertificate: value, metadata, change };
    },

    deleteCaCertificate: (request, context) => all.delete(request, context),
  };
}
