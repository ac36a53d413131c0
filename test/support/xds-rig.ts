/** A running xDS server with its cache, for tests that speak to it over the wire. */
import { pino } from "pino";

import { MetricsRegistry } from "../../control-plane/observe/metrics.ts";
import { makeReports } from "../../control-plane/reports/reports.ts";
import { ResourceCache, type ResourceUpdate } from "../../control-plane/xds/cache.ts";
import { ConnectedClients } from "../../control-plane/xds/connected-clients.ts";
import { JoinGuard } from "../../control-plane/xds/join.ts";
import type { XdsLimits } from "../../control-plane/xds/limits.ts";
import { startXdsServer } from "../../control-plane/xds/server.ts";
import { NodeRegistry, type NodeStatus } from "../../control-plane/xds/status.ts";
import { RecordingDelta, type RecordingOptions, RecordingSotw } from "./xds-client.ts";

export interface RigOptions {
  readonly limits?: Partial<XdsLimits>;
  /** Default: true. */
  readonly ready?: boolean;
  /** Who may join. Default: everybody. */
  readonly join?: JoinGuard;
}

export type XdsRig = Awaited<ReturnType<typeof startXdsRig>>;

/** Starts a server whose group "default" has these resources. `await using` it: its end closes clients and server. */
export async function startXdsRig(
  resources: readonly ResourceUpdate[],
  { limits = {}, ready = true, join = new JoinGuard(false) }: RigOptions = {},
) {
  const cache = new ResourceCache();
  const nodes = new NodeRegistry();
  const metrics = new MetricsRegistry();
  const log = pino({ level: "silent" });
  const clients = new ConnectedClients();
  const reports = makeReports({
    ...{ clients, cache, join, metrics, log },
    accessLogFile: "/dev/null",
    loadReportIntervalMs: 200,
  });
  const { services } = reports;
  const server = await startXdsServer({
    ...{ host: "127.0.0.1", port: 0, cache, nodes, clients, join },
    ...{ log, metrics, limits, services },
  });
  const opened: { close(): void }[] = [];
  const kept = <T extends { close(): void }>(client: T): T => {
    opened.push(client);
    return client;
  };
  cache.update("default", resources);
  if (ready) cache.markReady();
  return {
    cache,
    nodes,
    metrics,
    loads: reports.loads,
    server,
    /** Writes resources of the group "default". */
    change: (...updates: ResourceUpdate[]) => cache.update("default", updates),
    delta: (options?: RecordingOptions) => kept(new RecordingDelta(server.address, options)),
    sotw: (options?: RecordingOptions) => kept(new RecordingSotw(server.address, options)),
    /** Waits until the data planes' states are as wished for. */
    async nodesAre(condition: (nodes: readonly NodeStatus[]) => boolean): Promise<readonly NodeStatus[]> {
      for (;;) {
        const list = nodes.list();
        if (condition(list)) return list;
        await new Promise<void>((resolve) => {
          const stop = nodes.onChange(() => {
            stop();
            resolve();
          });
        });
      }
    },
    async [Symbol.asyncDispose]() {
      for (const client of opened) client.close();
      await server.close(1_000);
    },
  };
}
