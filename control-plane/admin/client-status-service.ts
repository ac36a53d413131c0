import { create } from "@bufbuild/protobuf";
import { type Code, ConnectError, type ServiceImpl } from "@connectrpc/connect";

import {
  type ClientConfig,
  ClientStatusDiscoveryService,
  type ClientStatusRequest,
  type ClientStatusResponse,
  ClientStatusResponseSchema,
} from "#envoy/service/status/v3/csds_pb.ts";

import type { Peers } from "../peers/peers.ts";
import { clientStatus } from "../reports/client-status.ts";
import type { ConnectedClients } from "../xds/connected-clients.ts";
import { answerPeers, askPeers } from "./ask-peers.ts";

const { fetchClientStatus } = ClientStatusDiscoveryService.method;

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
  const answer = async (request: ClientStatusRequest): Promise<ClientStatusResponse> => {
    const response = await own(request);
    if ("$typeName" in response) {
      const { answers } = await askPeers(peers, fetchClientStatus, request);
      return create(ClientStatusResponseSchema, { config: merge([response, ...answers]) });
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

/** A node's streams may be to several control planes. */
function merge(responses: readonly ClientStatusResponse[]): ClientConfig[] {
  const configs = new Map<string, ClientConfig>();
  for (const config of responses.flatMap((response) => response.config)) {
    const key = JSON.stringify([config.node?.cluster, config.node?.id]);
    const before = configs.get(key);
    if (before === undefined) configs.set(key, config);
    else before.genericXdsConfigs.push(...config.genericXdsConfigs);
  }
  return [...configs.values()];
}
