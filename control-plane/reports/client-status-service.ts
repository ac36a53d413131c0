import type { handleBidiStreamingCall, handleUnaryCall } from "@grpc/grpc-js";
import type { Logger } from "pino";

import {
  ClientStatusDiscoveryService,
  type ClientStatusRequest,
  type ClientStatusResponse,
} from "#envoy/service/status/v3/csds_pb.ts";

import type { Refusal } from "../xds/admission.ts";
import type { ConnectedClients } from "../xds/connected-clients.ts";
import { type Credentials, credentialsOf, type JoinGuard } from "../xds/join.ts";
import { groupOf } from "../xds/node.ts";
import type { PortService } from "../xds/port-service.ts";
import { clientStatus, mergeClients, type OtherClients } from "./client-status.ts";
import { isRefusal, OpenCalls } from "./open-calls.ts";

const STREAMS_MAX = 100;

/** The client status service of the xDS port. A caller sees the nodes of those gateway groups that it may join, or of the one that it names. */
export function clientStatusService(
  clients: ConnectedClients,
  join: JoinGuard,
  log: Logger,
  others: OtherClients = async () => [],
): PortService {
  const open = new OpenCalls({ name: "client status", max: STREAMS_MAX, log });

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

  const fetchClientStatus: handleUnaryCall<ClientStatusRequest, ClientStatusResponse> = (call, respond) => {
    void open.unary(call, respond, async () => await answer(call.request, credentialsOf(call)));
  };

  const streamClientStatus: handleBidiStreamingCall<ClientStatusRequest, ClientStatusResponse> = (call) => {
    if (!open.enter(call, (refusal) => call.emit("error", refusal))) return;
    const credentials = credentialsOf(call);
    call.on("data", (request: ClientStatusRequest) => {
      // One at a time: a caller that asks faster than it reads waits.
      call.pause();
      void open.guard(call, async () => {
        const response = await answer(request, credentials);
        if (isRefusal(response)) open.end(call, response);
        else if (call.write(response)) call.resume();
        else call.once("drain", () => call.resume());
      });
    });
    call.on("end", () => call.end());
  };

  const handlers = { fetchClientStatus, streamClientStatus };
  return { service: ClientStatusDiscoveryService, handlers, close: () => open.close() };
}
