import { setTimeout as sleep } from "node:timers/promises";

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { durationFromMs, durationMs } from "@bufbuild/protobuf/wkt";
import { Client, type ClientDuplexStream } from "@grpc/grpc-js";

import { type ClusterStats, ClusterStatsSchema } from "#envoy/config/endpoint/v3/load_report_pb.ts";
import {
  type LoadStatsRequest,
  LoadStatsRequestSchema,
  type LoadStatsResponse,
  LoadStatsResponseSchema,
} from "#envoy/service/load_stats/v3/lrs_pb.ts";

import { joinCredentials } from "./security.ts";
import { type AdsOptions, backOffMs } from "./stream.ts";

/** What a cluster has had to do since the proxy started, over all workers. */
export interface ClusterLoad {
  readonly cluster: string;
  /** The name of its endpoints where it has one of its own; "" otherwise. */
  readonly serviceName: string;
  /** Requests that were sent to it, each try by itself. */
  readonly issued: number;
  readonly successful: number;
  readonly failed: number;
  /** Refused by its circuit breakers. */
  readonly dropped: number;
  /** Now. */
  readonly inProgress: number;
}

export interface LoadReportsOptions extends AdsOptions {
  /** The clusters that say `lrs_server`, whose loads the control plane may ask for. */
  readonly loads: () => Iterable<ClusterLoad>;
}

const PATH = "/envoy.service.load_stats.v3.LoadReportingService/StreamLoadStats";
/** By this a server knows that it need not name clusters (L1). */
const SENDS_ALL = "envoy.lrs.supports_send_all_clusters";
/** So often it is looked whether a cluster is to be reported at all. */
const LOOK_AGAIN_MS = 2_000;
/** No server hears more often. */
const INTERVAL_MS_MIN = 100;
const INTERVAL_MS_MAX = 3_600_000;

/**
 * Reports the load of clusters to the control plane until the signal aborts (LRS, rule L1). Counts are differences, and one that was not told stays due:
 * requests between two streams are not lost. Never throws for what a server or network does.
 */
export async function runLoadReports(options: LoadReportsOptions): Promise<void> {
  const { signal, loads } = options;
  const told = new Told();
  let failures = 0;
  while (!signal.aborted) {
    const isAsked = !isEmpty(loads());
    if (isAsked) failures = (await runStream(options, told)) ? 0 : failures + 1;
    const waitMs = isAsked ? backOffMs(failures + 1, Math.random()) : LOOK_AGAIN_MS;
    await sleep(waitMs, undefined, { signal }).catch(() => {}); // Aborted; the loop sees it.
  }
}

const isEmpty = (items: Iterable<unknown>): boolean => {
  for (const _ of items) return false;
  return true;
};

/** One stream, to its end. @returns whether the server has asked for anything */
async function runStream({ server, node, signal, security = {}, loads }: LoadReportsOptions, told: Told) {
  let join: ReturnType<typeof joinCredentials>;
  try {
    join = joinCredentials(security);
  } catch {
    // The discovery stream needs the same files, and says what is wrong with them.
    return false;
  }
  const client = new Client(server, join.channel, { "grpc.use_local_subchannel_pool": 1, "grpc.enable_retries": 0 });
  const stream: ClientDuplexStream<LoadStatsRequest, LoadStatsResponse> = client.makeBidiStreamRequest(
    PATH,
    (request: LoadStatsRequest) => Buffer.from(toBinary(LoadStatsRequestSchema, request)),
    (bytes: Buffer) => fromBinary(LoadStatsResponseSchema, bytes),
    join.metadata,
  );
  const cancel = () => stream.cancel();
  signal.addEventListener("abort", cancel);
  let timer: NodeJS.Timeout | undefined;
  try {
    const clientFeatures = [...node.clientFeatures, SENDS_ALL];
    stream.write(create(LoadStatsRequestSchema, { node: { ...node, clientFeatures } }));
    for await (const response of stream as AsyncIterable<LoadStatsResponse>) {
      clearInterval(timer);
      const wanted = response.sendAllClusters ? undefined : new Set(response.clusters);
      const askedMs = response.loadReportingInterval === undefined ? 0 : durationMs(response.loadReportingInterval);
      const intervalMs = Math.min(Math.max(askedMs, INTERVAL_MS_MIN), INTERVAL_MS_MAX);
      let lastMs = performance.now();
      timer = setInterval(() => {
        // What a server doesn't read is told in one piece later.
        if (stream.writableNeedDrain) return;
        const nowMs = performance.now();
        const clusterStats = told.next(loads(), wanted, nowMs - lastMs);
        lastMs = nowMs;
        stream.write(create(LoadStatsRequestSchema, { clusterStats }));
      }, intervalMs).unref();
    }
    return timer !== undefined;
  } catch {
    return timer !== undefined;
  } finally {
    clearInterval(timer);
    signal.removeEventListener("abort", cancel);
    stream.on("error", () => {}); // Cancelling a stream that is not at its end reports an error to nobody.
    stream.cancel();
    client.close();
  }
}

/** What the control plane has been told of each cluster. */
export class Told {
  /** By cluster. One that is gone is forgotten with its counts: if it comes back, these begin anew. */
  #before = new Map<string, ClusterLoad>();

  /**
   * The next report: of clusters that had requests since the one before, or have some now.
   *
   * @param wanted their names; undefined: of all
   * @param intervalMs the time since the report before
   */
  next(loads: Iterable<ClusterLoad>, wanted: ReadonlySet<string> | undefined, intervalMs: number): ClusterStats[] {
    const stats: ClusterStats[] = [];
    const told = new Map<string, ClusterLoad>();
    for (const load of loads) {
      const known = this.#before.get(load.cluster);
      // It went and came back between two reports.
      const before = known !== undefined && known.issued <= load.issued ? known : undefined;
      if (before !== undefined) told.set(load.cluster, before);
      if (wanted?.has(load.cluster) === false) continue;
      const since = (count: "issued" | "successful" | "failed" | "dropped") =>
        BigInt(Math.max(0, load[count] - (before?.[count] ?? 0)));
      const wasBusy = (before?.inProgress ?? 0) > 0;
      const ended = since("successful") + since("failed");
      if (!wasBusy && load.inProgress === 0 && since("issued") + ended + since("dropped") === 0n) continue;
      told.set(load.cluster, load);
      stats.push(
        create(ClusterStatsSchema, {
          clusterName: load.cluster,
          clusterServiceName: load.serviceName,
          upstreamLocalityStats: [
            {
              totalIssuedRequests: since("issued"),
              totalSuccessfulRequests: since("successful"),
              totalErrorRequests: since("failed"),
              totalRequestsInProgress: BigInt(load.inProgress),
            },
          ],
          totalDroppedRequests: since("dropped"),
          loadReportInterval: durationFromMs(Math.round(intervalMs)),
        }),
      );
    }
    this.#before = told;
    return stats;
  }
}
