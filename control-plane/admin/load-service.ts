import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";

import { LoadSchema, type LoadService } from "#sluice/admin/v1/load_service_pb.ts";

import type { Load, Loads } from "../reports/loads.ts";
import { pageOf } from "./pages.ts";

/** The load that data planes report. */
export function loadService(loads: Loads): ServiceImpl<typeof LoadService> {
  return {
    async listLoads(request) {
      const { items, nextPageToken } = pageOf(
        request,
        ["loads", request.gatewayGroup],
        (after) => loadsAfter(loads.list(), request.gatewayGroup, after),
        keyOf,
      );
      return { loads: items.map(toMessage), nextPageToken };
    },
  };
}

const keyOf = ({ gatewayGroup, cluster, locality }: Load): [string, string, string] => [
  gatewayGroup,
  cluster,
  locality,
];

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
