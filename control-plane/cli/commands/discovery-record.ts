import { setTimeout as sleep } from "node:timers/promises";

import { create, toJson } from "@bufbuild/protobuf";
import { timestampNow } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";

import type { WatchedService } from "#sluice/admin/v1/discovery_service_pb.ts";
import { ServiceSnapshotSchema } from "#sluice/discovery/v1/snapshot_pb.ts";

import { withClient } from "../client.ts";
import { exitCode } from "../errors.ts";
import type { Terminal } from "../terminal.ts";
import type { DiscoveryOptions } from "./discovery.ts";

/** Options of `sluice discovery record`. */
export interface RecordOptions extends DiscoveryOptions {
  /** How long to record from the first answer on, in milliseconds. Default: until it is interrupted. */
  readonly for?: number;
}

/**
 * `sluice discovery record`: a line of JSON for what is served of each watched service, and for each change of it. Nothing of how a registry
 * is reached is in it; what instances say of themselves (metadata, tags) is.
 */
export async function record(options: RecordOptions, terminal: Terminal): Promise<number> {
  const { group = "", registry = "" } = options;
  const ended = new AbortController();
  const request = { gatewayGroup: group, registry, endpoints: true };
  let isTimed = options.for === undefined;
  await withClient(options, async (client) => {
    try {
      const stream = client.discovery.watchServices(request, { signal: ended.signal, timeoutMs: 0 });
      for await (const { services } of stream) {
        // Ends the recording, and nothing else: the program may go before.
        if (!isTimed) void sleep(options.for, undefined, { ref: false }).then(() => ended.abort());
        isTimed = true;
        // A registry that never answered for a service has said nothing of it, not that there is nothing.
        for (const service of services) if (service.lastEventTime !== undefined) terminal.out(lineOf(service));
      }
    } catch (error) {
      if (!(ended.signal.aborted && error instanceof ConnectError && error.code === Code.Canceled)) throw error;
    }
  });
  return exitCode.ok;
}

function lineOf({ gatewayGroup, registry, key, revision, endpoints }: WatchedService): string {
  const snapshot = create(ServiceSnapshotSchema, {
    ...(key !== undefined && { service: key }),
    ...{ revision, endpoints, observeTime: timestampNow() },
  });
  return JSON.stringify({ gatewayGroup, registry, snapshot: toJson(ServiceSnapshotSchema, snapshot) });
}
