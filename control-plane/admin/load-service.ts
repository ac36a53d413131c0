import { create } from "@bufbuild/protobuf";
import { timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";

import {
  type ListLoadsRequest,
  ListLoadsResponseSchema,
  type Load as LoadMessage,
  LoadSchema,
  LoadService,
} from "#sluice/admin/v1/load_service_pb.ts";

import type { Peers } from "../peers/peers.ts";
import type { Load, Loads } from "../reports/loads.ts";
import { answerPeers, askPeers, pageOfParts } from "./ask-peers.ts";
import { pageOf } from "./pages.ts";

const { listLoads } = LoadService.method;

/** The load that data planes report, to this control plane and to the others on its store. */
export function loadService(loads: Loads, peers?: Peers): ServiceImpl<typeof LoadService> {
  answerPeers(peers, listLoads, (request) => {
    const { items, nextPageToken } = ownLoads(loads, request);
    return create(ListLoadsResponseSchema, { loads: [...items], nextPageToken });
  });
  return {
    async listLoads(request) {
      const { answers } = await askPeers(peers, listLoads, request);
      const others = answers.map((answer) => ({ ...answer, items: answer.loads }));
      const { items, nextPageToken } = pageOfParts(
        request,
        listOf(request),
        [ownLoads(loads, request), ...others],
        keyOf,
        sum,
      );
      return { loads: [...items], nextPageToken };
    },
  };
}

const listOf = ({ gatewayGroup }: ListLoadsRequest) => ["loads", gatewayGroup];

function ownLoads(loads: Loads, request: ListLoadsRequest) {
  const { items, nextPageToken } = pageOf(
    request,
    listOf(request),
    (after) => loadsAfter(loads.list(), request.gatewayGroup, after),
    keyOf,
  );
  return { items: items.map(toMessage), nextPageToken };
}

function sum(a: LoadMessage, b: LoadMessage): LoadMessage {
  const newest = [a.reportTime, b.reportTime]
    .filter((time) => time !== undefined)
    .sort((x, y) => timestampMs(y) - timestampMs(x))[0];
  return create(LoadSchema, {
    ...{ gatewayGroup: a.gatewayGroup, cluster: a.cluster, locality: a.locality },
    issued: a.issued + b.issued,
    successful: a.successful + b.successful,
    failed: a.failed + b.failed,
    dropped: a.dropped + b.dropped,
    inProgress: a.inProgress + b.inProgress,
    requestsPerSecond: a.requestsPerSecond + b.requestsPerSecond,
    ...(newest !== undefined && { reportTime: newest }),
  });
}

const keyOf = ({
  gatewayGroup,
  cluster,
  locality,
}: Pick<Load, "gatewayGroup" | "cluster" | "locality">): [string, string, string] => [gatewayGroup, cluster, locality];

function loadsAfter(loads: readonly Load[], only: string, after: readonly string[] | undefined): Load[] {
  return loads.filter((load) => {
    if (only !== "" && load.gatewayGroup !== only) return false;
    if (after === undefined) return true;
    const key = keyOf(load);
    const at = key.findIndex((part, index) => part !== after[index]);
    return at >= 0 && (key[at] ?? "") > (after[at] ?? "");
  });
}

const toMessage = (load: Load) =>
  create(LoadSchema, {
    gatewayGroup: load.gatewayGroup,
    cluster: load.cluster,
    locality: load.locality,
    issued: BigInt(load.issued),
    successful: BigInt(load.successful),
    failed: BigInt(load.failed),
    dropped: BigInt(load.dropped),
    inProgress: BigInt(load.inProgress),
    requestsPerSecond: load.requestsPerSecond,
    reportTime: timestampFromMs(load.reportTimeMs),
  });
