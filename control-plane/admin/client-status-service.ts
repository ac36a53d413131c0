import { type Code, ConnectError, type ServiceImpl } from "@connectrpc/connect";

import type {
  ClientStatusDiscoveryService,
  ClientStatusRequest,
  ClientStatusResponse,
} from "#envoy/service/status/v3/csds_pb.ts";

import { clientStatus } from "../reports/client-status.ts";
import type { ConnectedClients } from "../xds/connected-clients.ts";

/** Envoy's client status service for operators: they see the nodes of every gateway group. */
export function clientStatusService(clients: ConnectedClients): ServiceImpl<typeof ClientStatusDiscoveryService> {
  const answer = async (request: ClientStatusRequest): Promise<ClientStatusResponse> => {
    const response = await clientStatus(clients, request, () => true);
    if ("$typeName" in response) return response;
    const { code, details } = response;
    // The numbers are gRPC's in both.
    throw new ConnectError(details, code as number as Code);
  };
  return {
    fetchClientStatus: answer,
    async *streamClientStatus(requests) {
      for await (const request of requests) yield await answer(request);
    },
  };
}
