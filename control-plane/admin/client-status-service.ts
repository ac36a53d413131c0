import { type Code, ConnectError, type ServiceImpl } from "@connectrpc/connect";

import {
  ClientStatusDiscoveryService,
  type ClientStatusRequest,
  type ClientStatusResponse,
} from "#envoy/service/status/v3/csds_pb.ts";

import type { Peers } from "../peers/peers.ts";
import { clientStatus, mergeClients, type OtherClients } from "../reports/client-status.ts";
import type { ConnectedClients } from "../xds/connected-clients.ts";
import { answerPeers, askPeers } from "./ask-peers.ts";

const { fetchClientStatus } = ClientStatusDiscoveryService.method;

/** Asks the other control planes on the store. @param peers undefined: there are none */
export const otherClients =
  (peers: Peers | undefined): OtherClients =>
  async (request) =>
    (await askPeers(peers, fetchClientStatus, request)).answers;

/** Envoy's client status service for operators: they see the nodes of every gateway group, connected to whichever control plane. */
export function clientStatusService(
  clients: ConnectedClients,
  peers?: Peers,
): ServiceImpl<typeof ClientStatusDiscoveryService> {
  const own = (request: ClientStatusRequest) => clientStatus(clients, request, () => true);
  answerPeers(peers, fetchClientStatus, async (request) => {
    const response = await own(request);
    // What is refused here is refused there.
    return "$typeName" in response ? response : undefined;
  });
  const others = otherClients(peers);
  const answer = async (request: ClientStatusRequest): Promise<ClientStatusResponse> => {
    const response = await own(request);
    if ("$typeName" in response) {
      return mergeClients([response, ...(await others(request))]);
    }
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
