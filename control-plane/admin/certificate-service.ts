import type { ServiceImpl } from "@connectrpc/connect";

import type { CertificateService } from "#sluice/admin/v1/certificate_service_pb.ts";

import type { Store } from "../store/store.ts";
import { members } from "./members.ts";

/** Certificates, one at a time. No answer holds a key. */
export function certificateService(store: Store): ServiceImpl<typeof CertificateService> {
  const all = members(store, "certificate", "certificate");
  return {
    async getCertificate(request) {
      const { value, metadata } = all.get(request);
      return { certificate: value, metadata };
    },

    async listCertificates(request) {
      const { items, nextPageToken } = all.list(request);
      return { items: items.map(({ value, metadata }) => ({ certificate: value, metadata })), nextPageToken };
    },

    async createCertificate(request, context) {
      const { value, metadata } = await all.create(request.certificate, request, context);
      return { certificate: value, metadata };
    },

    async updateCertificate(request, context) {
      const { value, metadata, change } = await all.update(request.certificate, request, context);
      return { certificate: value, metadata, change };
    },

    deleteCertificate: (request, context) => all.delete(request, context),
  };
}
