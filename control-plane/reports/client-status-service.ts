import {
  ClientStatusDiscoveryService,
  type ClientStatusRequest,
  type ClientStatusResponse,
} from "#envoy/service/status/v3/csds_pb.ts";

import type { Refusal } from "../xds/admission.ts";
import type { ConnectedClients } from "../xds/connected-clients.ts";
import type { Credentials, JoinGuard } from "../xds/join.ts";
import { groupOf } from "../xds/node.ts";
import { isRefusal, type PortService, PortStreams, unaryMethod } from "../xds/port-service.ts";
import { clientStatus, mergeClients, type OtherClients } from "./client-status.ts";

const STREAMS_MAX = 100;

/** The client status service of the xDS port. A caller sees the nodes of those gateway groups that it may join, or of the one that it names. */
export function clientStatusService(
  clients: ConnectedClients,
  join: JoinGuard,
  others: OtherClients = async () => [],
): PortService {
  async function answer(
    request: ClientStatusRequest,
    credentials: Credentials,
  ): Promise<ClientStatusResponse | Refusal> {
    const own = request.node === undefined ? undefined : groupOf(request.node);
    const refusal = own === undefined ? join.strangerRefusal(credentials) : join.refusal(own, credentials);
    if (refusal !== undefined) return refusal;
    const maySee = (group: string) =>
      own === undefined ? join.refusal(group, credentials) === undefined : group === own;
    const response = await clientStatus(clients, request, maySee);
    if (isRefusal(response)) return response;
    const merged = mergeClients([response, ...(await others(request))]);
    // The others tell of all gateway groups.
    merged.config = merged.config.filter(({ node }) => node !== undefined && maySee(groupOf(node)));
    return merged;
  }

  const { fetchClientStatus, streamClientStatus } = ClientStatusDiscoveryService.method;
  const fetch = unaryMethod(fetchClientStatus, (request, { credentials }) => answer(request, credentials));
  const stream = new PortStreams(streamClientStatus, STREAMS_MAX, (call) => ({
    async message(request) {
      const response = await answer(request, call.credentials);
      if (isRefusal(response)) call.end(response);
      else call.send(response);
    },
  }));
  return { service: ClientStatusDiscoveryService, methods: [fetch, stream], close: () => stream.close() };
}
